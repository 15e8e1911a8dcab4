"""docker-compose.yaml's own services in containers of the built image, with the limits and rights that the file gives.

They share a network namespace that has nothing but a loopback; PostgreSQL and Redis run in it as processes of this
machine, since their images are in a registry.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from check_compose import copy_with_secrets

from wayfare.local.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from check_image import Podman

HERE = ["--network=host", "--pull=never", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
"""What makes a container start where the machine's limits cannot be raised."""
REFUSED = re.compile(r"Read-only file system|Permission denied|Operation not permitted", re.IGNORECASE)
CLONE_NEWNET = 0x40000000
MOST_SECONDS = 600
"""Seconds that any one thing may take."""
ANALYSIS = "destination_demand"
"""The one that runs; the others stay paused, to be done sooner."""


def run(podman: Podman, tell: Callable[[str], None]) -> None:
    """Migrate, start every service of our own, and have Airflow's worker publish a mart; SystemExit if one cannot."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    stack = Stack(podman)
    with stack.running():
        stack.finish("migrate")
        tell("migrated")
        names = [n for n, s in stack.services.items() if s.get("image") == "wayfare:local" and n != "migrate"]
        for name in names:
            stack.start(name)
        for name in names:
            stack.until(name, lambda name=name: stack.is_healthy(name))
            tell(f"{name} is healthy")
        stack.work()
        tell(f"events landed, a worker published {ANALYSIS}")
        stack.check()
        tell("doctor found no fault, nobody was refused a write")


class Stack:
    """The services by name, and what is outside."""

    def __init__(self, podman: Podman) -> None:
        self.podman, self.folder = podman, podman.folder / "compose"
        self.clients: list[subprocess.Popen[bytes]] = []
        copy_with_secrets(self.folder)
        self.secrets = dict(line.split("=", 1) for line in (self.folder / ".env").read_text().splitlines())
        services = json.dumps(yaml.safe_load((self.folder / "docker-compose.yaml").read_text())["services"])
        filled = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: self.secrets[found[1]], services)
        filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", filled)
        self.services: dict[str, dict[str, Any]] = json.loads(filled.replace("$$", "$"))

    @contextmanager
    def running(self) -> Iterator[None]:
        """PostgreSQL and Redis; at the end nothing is left of them and the containers."""
        postgres = EmbeddedPostgres(self.folder / "pg" / "data", 5432, self.secrets["WAYFARE_OWNER_PASSWORD"])
        with ExitStack() as ending:
            postgres.start()
            ending.callback(postgres.stop)
            for name in ("redis", "queue"):
                folder = self.folder / name
                folder.mkdir()
                command = [part.replace("/data", str(folder)) for part in self.services[name]["command"]]
                server = subprocess.Popen([*command, "--bind", _address(name)], stdout=subprocess.DEVNULL, cwd=folder)
                ending.callback(server.wait)
                ending.callback(server.terminate)
            ending.callback(self._stop)
            yield

    def _stop(self) -> None:
        for client in self.clients:
            client.terminate()
        remove = ["rm", "--all", "--force", "--time=5"]
        # Podman calls it a failure if a container ends by itself just before it would be killed
        subprocess.run(self.podman.command(*remove), capture_output=True)
        for client in self.clients:
            client.wait(MOST_SECONDS)
        self.podman(*remove)

    def options(self, name: str) -> list[str]:
        """What the file says of a service, as options of `podman run`."""
        service = self.services[name]
        options = [f"--user={service['user']}", f"--memory={service['mem_limit']}", f"--cpus={service['cpus']}"]
        options += [f"--pids-limit={service['pids_limit']}", f"--read-only={str(service['read_only']).lower()}"]
        options += [f"--{key}={value}" for key in ("cap_drop", "security_opt", "tmpfs") for value in service[key]]
        options += [f"--volume={volume}" for volume in service["volumes"]]
        options += [f"--env={key}={value}" for key, value in service["environment"].items()]
        options += [f"--add-host={other}:{_address(other)}" for other in self.services]
        options += ["--env=AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=True"]
        return [option.replace("_", "-", 1) if option.startswith(("--cap_", "--sec")) else option for option in options]

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a service, or another command in its place."""
        arguments = ["run", "--rm", f"--name={name}", *HERE, *self.options(name), self.services[name]["image"]]
        with (self.folder / f"{name}.log").open("ab") as log:
            called = self.podman.command(*arguments, *(command or self.services[name]["command"]))
            self.clients.append(subprocess.Popen(called, stdout=log, stderr=log))
        return self.clients[-1]

    def finish(self, name: str, *command: str) -> None:
        """Run a one-shot service, or another command in its place, to its end; SystemExit with its log if it fails."""
        if self.start(name, *command).wait(MOST_SECONDS):
            sys.exit(f"{name} failed:\n{self.log(name)}")

    def log(self, name: str) -> str:
        """The end of a service's output."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-6000:]

    def inside(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container."""
        return subprocess.run(self.podman.command("exec", name, *command), capture_output=True, text=True)

    def is_healthy(self, name: str) -> bool:
        """Whether the file's check of a service passes; one without a check must run."""
        kind, *command = self.services[name].get("healthcheck", {"test": ["CMD", "true"]})["test"]
        return self.inside(name, *(["sh", "-c", *command] if kind == "CMD-SHELL" else command)).returncode == 0

    def until(self, name: str, holds: Callable[[], bool]) -> None:
        """Wait for something of a service; SystemExit with the end of its log if it takes longer."""
        deadline = time.monotonic() + MOST_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                sys.exit(f"{name} failed:\n{self.log(name)}")
            time.sleep(3)

    def work(self) -> None:
        """Land simulated events with the landing role's container and wait for the first mart."""
        events = "/var/lib/wayfare/events"
        for name, command in (
            ("queue-lander", f"wayfare simulate --days 3 --customers 60 --broken-share 0 --out {events}"),
            ("queue-lander", f"wayfare land --quiet {events}/*"),
            ("scheduler", f"airflow dags unpause --yes {ANALYSIS} && airflow dags trigger {ANALYSIS}"),
        ):
            done = self.inside(name, "sh", "-c", command)
            if done.returncode:
                sys.exit(f"{name}: {command}: {done.stdout}{done.stderr}")
        self.until("worker", self._has_published)

    def _has_published(self) -> bool:
        status = self.inside("worker", "wayfare", "status", "--json")
        return status.returncode == 0 and any(
            row["analysis"] == ANALYSIS and row["rows"] for row in json.loads(status.stdout)
        )

    def check(self) -> None:
        """Doctor, which asks for the DAGs too, and every log."""
        self.finish("migrate", "wayfare", "doctor")
        refused = [
            f"{log.stem}: {line}"
            for log in self.folder.glob("*.log")
            for line in log.read_text(errors="replace").splitlines()
            if REFUSED.search(line)
        ]
        if refused:
            sys.exit("\n".join(refused[:20]))


def _address(service: str) -> str:
    """Where a service listens: both of Redis have the same port."""
    return "127.0.0.2" if service == "queue" else "127.0.0.1"
