"""docker-compose.yaml without containers: its own commands and environment, as processes of this machine.

Host names become ports of 127.0.0.1 and container paths folders of the test; everything else is what the file says, but
that the object storage is moto's, because SeaweedFS comes as a container only.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml

from wayfare.local.postgres import EmbeddedPostgres, free_port

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "airflow": [sys.executable, "-m", "airflow"],
    "wayfare": [sys.executable, "-c", "from wayfare.cli import main; main()"],
}
PORTS = {"postgres": 5432, "redis": 6379, "queue": 6379, "api-server": 8080, "collector": 8000, "objects": 8333}


def pause_all_but(analyses: tuple[str, ...], metadata_url: str) -> bool:
    """Let these DAGs run and no other, in Airflow's metadata; False while it does not know every DAG."""
    with psycopg.connect(metadata_url) as connection:
        known = connection.execute("SELECT count(*) FROM dag WHERE dag_id = 'traffic_anomalies'").fetchone()
        connection.execute("UPDATE dag SET is_paused = dag_id <> ALL (%s)", [list(analyses)])
    return known == (1,)


def forks_preloaded(pid: int) -> bool:
    """Whether the workers that a process forked have DuckDB's library in memory, though they run no SQL themselves."""
    return any("_duckdb" in Path(f"/proc/{worker.pid}/maps").read_text() for worker in psutil.Process(pid).children())


@dataclass
class Native:
    """The file's services by name, started one by one; several of one service have names like `worker-2`."""

    folder: Path
    changed: dict[str, str] = field(default_factory=dict)
    """Environment that the test sets differently, to be done sooner."""
    configured: dict[str, str] = field(default_factory=dict)
    """What the installation's `.env` says beside the secrets."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})

    def __post_init__(self) -> None:
        (self.folder / "scripts").mkdir(parents=True)
        for file in ("docker-compose.yaml", "scripts/make_env.py"):
            shutil.copy(PROJECT / file, self.folder / file)
        subprocess.run([sys.executable, self.folder / "scripts" / "make_env.py"], check=True)
        generated = dict(line.split("=", 1) for line in (self.folder / ".env").read_text().splitlines())
        self.secrets = generated | self.configured
        self.services: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())[
            "services"
        ]
        self.postgres = EmbeddedPostgres(
            self.folder / "pg" / "data", self.ports["postgres"], self.secrets["WAYFARE_OWNER_PASSWORD"]
        )

    def filled(self, value: str, name: str) -> str:
        """A value of the file as it is for a process of this machine."""
        value = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: self.secrets[found[1]], value)
        value = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: self.secrets.get(found[1], found[2]), value)
        for host, port in PORTS.items():
            value = re.sub(rf"(?<=[@/]){host}:{port}\b", f"127.0.0.1:{self.ports[host]}", value)
        folders = self.folders(name)
        path = re.match("|".join(folders), value)
        if path:
            value = f"{self.folder / folders[path[0]]}{value[path.end() :]}"
        return value.replace("/opt/wayfare", str(PROJECT)).replace("0.0.0.0", "127.0.0.1").replace("$$", "$")

    def folders(self, name: str) -> dict[str, str]:
        """Folders of the test by the container paths of a service that are in their place."""
        volumes = (volume.split(":") for volume in self.services[name].get("volumes", ()))
        return {path: volume for volume, path in volumes} | {"/tmp": f"{name}-tmp"}

    def environment(self, name: str) -> dict[str, str]:
        """What the image and the file set, on top of this machine's own."""
        image = re.findall(r"^(?:ENV +| +)([A-Z_]+)=(\S+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
        given = {**dict(image), **{k: str(v) for k, v in self.services[name].get("environment", {}).items()}}
        own = {k: v for k, v in os.environ.items() if not k.startswith(("WAYFARE_", "AIRFLOW_"))}
        port = {"AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API__PORT": str(self.ports["api-server"])}
        filled = {k: self.filled(v, name) for k, v in given.items() if k != "PATH"}
        return own | filled | port | self.changed | {"OPENBLAS_NUM_THREADS": "1"}

    def command(self, name: str) -> list[str]:
        """The service's command line."""
        if name == "objects":
            return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.ports[name])]
        program, *arguments = (self.filled(str(part), name) for part in self.services[name]["command"])
        if name in PORTS and program != "airflow":
            arguments = [str(self.ports[name]) if part == str(PORTS[name]) else part for part in arguments]
        if program == "redis-server":
            arguments += ["--port", str(self.ports[name]), "--bind", "127.0.0.1"]
        return [*PROGRAMS.get(program, [program]), *arguments]

    def start(self, name: str, copy: int = 1) -> None:
        """Start a service (again)."""
        title = name if copy == 1 else f"{name}-{copy}"
        for folder in self.folders(name).values():
            (self.folder / folder).mkdir(exist_ok=True)
        command = self.command(name)
        if "celery" in command:
            command += ["--celery-hostname", f"{title}@%h"]
            command = [part.replace("worker.pid", f"{title}.pid") for part in command]
        with (self.folder / f"{title}.log").open("ab") as log:
            self.running[title] = subprocess.Popen(
                command, env=self.environment(name), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def finish(self, name: str) -> None:
        """Run a one-shot service to its end."""
        self.start(name)
        assert self.running[name].wait(600) == 0, self.log(name)
        del self.running[name]

    def log(self, title: str) -> str:
        """The end of a service's output."""
        return (self.folder / f"{title}.log").read_text(errors="replace")[-4000:]

    def kill(self, title: str) -> None:
        """End a service and all its processes by SIGKILL, as a lost machine would."""
        self.signal(title, signal.SIGKILL)
        self.running.pop(title).wait(30)

    def signal(self, title: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a service, also to those that outlived its first one."""
        first = self.running[title].pid
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(first).children(recursive=True):
                _send(process, number)
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(process.pid) == first:
                    _send(process, number)

    def titles_of(self, pid: int) -> list[str]:
        """The service that a process belongs to, if it still runs."""
        own = {process.pid: title for title, process in self.running.items()}
        with contextlib.suppress(psutil.NoSuchProcess):
            above = [pid, *(parent.pid for parent in psutil.Process(pid).parents())]
            return [own[found] for found in above if found in own]
        return []

    def wayfare(self, *arguments: str) -> str:
        """The command line, as the owner."""
        done = subprocess.run(
            [*PROGRAMS["wayfare"], *arguments], env=self.environment("migrate"), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        """End everything; nothing of it is kept."""
        for title in list(self.running):
            self.kill(title)
        self.postgres.stop()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
