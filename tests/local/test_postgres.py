"""The embedded server: it starts, survives a kill, asks for a password, and listens on this machine only."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from waiting import until
from wayfare.errors import ConfigurationError, ServiceError
from wayfare.local import postgres, stack
from wayfare.local.postgres import EmbeddedPostgres, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAKING = """
import signal, sys
from pathlib import Path
from wayfare.local.postgres import EmbeddedPostgres
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job starts with ignored
EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]), "secret-of-this-test").start()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server whose folder somebody began to make before, and stopped halfway."""
    folder: Path = tmp_path_factory.mktemp("pg")
    made = EmbeddedPostgres(folder / "it's data", free_port(), "secret-of-this-test")
    making = subprocess.Popen([sys.executable, "-c", MAKING, made.data, str(made.port)], stderr=subprocess.DEVNULL)
    until(lambda: any(folder.glob("*/PG_VERSION")))
    making.send_signal(signal.SIGINT)
    making.wait()
    (earlier := folder / "it's data.earlier.partial").mkdir()
    made.start()
    assert not earlier.exists()
    yield made
    made.stop()


def test_it_survives_a_kill_and_keeps_what_was_committed(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url("postgres")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
    postmaster.kill()
    postmaster.wait(10)
    told = list[str]()
    stack._revive(server, told.append)
    assert told == ["PostgreSQL ended; started it again"]
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    server.start()
    assert server.running()


def test_a_process_that_has_a_crashed_server_s_pid_by_now_is_left_alone(server: EmbeddedPostgres) -> None:
    lock, own = server.data / "postmaster.pid", server.data / f".s.PGSQL.{server.port}.lock"
    postmaster = psutil.Process(int(lock.read_text().splitlines()[0]))
    postmaster.kill()
    postmaster.wait(10)
    user = postgres._system_user() if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=user) as other:
        for file in (lock, own):
            file.write_text(file.read_text().replace(str(postmaster.pid), str(other.pid), 1))
        assert not server.running()
        server.stop()
        server.start()
        assert other.poll() is None
        other.kill()
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_start_goes_on_while_it_recovers(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that restores nothing, slowly, stands for a slow disk."""
    with (server.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write("wal_level = replica\nrestore_command = 'sleep 1; false'\n")
    server.stop()
    server.start()
    (server.data / "recovery.signal").touch()
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
    postmaster.kill()
    postmaster.wait(10)
    monkeypatch.setattr(postgres, "_START_SECONDS", "1")
    server.start()
    assert server.recovering()
    until(lambda: not server.recovering())
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("name", ["Müller, Reisen", "Путешествия" * 4])
def test_it_starts_in_folders_whose_name_no_socket_takes(tmp_path: Path, name: str) -> None:
    made = EmbeddedPostgres(tmp_path / name, free_port(), "x")
    made.start()
    assert made.running()
    made.stop()


@pytest.mark.parametrize("name", ['"', "$HOME", "`id`"])
def test_a_folder_that_a_shell_would_read_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="would mean something else; rename the folder, or set WAYFARE_HOME"):
        EmbeddedPostgres(tmp_path / name, free_port(), "x").start()
    assert not (tmp_path / name).exists()


def test_it_is_found_though_somebody_closes_a_folder_above_it(server: EmbeddedPostgres) -> None:
    server.data.parent.chmod(0o700)
    assert server.running()
    assert not server.data.parent.stat().st_mode & stat.S_IRWXO, "to others it stays closed"


def test_what_pg_ctl_says_is_told(tmp_path: Path) -> None:
    """Of a copy whose files belong to somebody else, the log ends with what the server said long before."""
    (tmp_path / "PG_VERSION").write_text("18\n")
    (tmp_path / "log").write_text("database system is shut down\n")
    (tmp_path / "postmaster.pid").touch(mode=0)
    with pytest.raises(ServiceError, match=r'could not open PID file ".*": Permission denied\ndatabase system is'):
        EmbeddedPostgres(tmp_path, free_port(), "x").start()


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("postgres", password="guessed"))


def test_it_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
    addresses = {c.laddr.ip for c in postmaster.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
