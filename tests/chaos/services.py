"""The services that are killed, each by a title like `worker-2`."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import psutil

import brokers
from e2e.native import Native
from waiting import until
from wayfare.errors import ServiceError
from wayfare.local.postgres import free_port

if TYPE_CHECKING:
    from pathlib import Path

SOONER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    "WAYFARE_DEBOUNCE_SECONDS": "2",
}
"""Only what Airflow waits for is shorter than in the file, so that minutes suffice."""

LIVES = {
    "redis": 2, "queue": 4, "rabbitmq": 4, "postgres": 3, "queue-lander": 4, "queue-lander-2": 4, "collector": 4,
    "worker": 4, "worker-2": 4, "scheduler": 2, "dag-processor": 1, "triggerer": 1, "api-server": 1,
}  # fmt: skip
"""How often each is chosen, in proportion."""


class Services:
    """Starts, kills, pauses; events go through `broker` ("redis" or "rabbitmq")."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.native = Native(folder / "native", dict(SOONER))
        self.rabbitmq: brokers.Broker | None = None
        if broker == "rabbitmq":
            (folder / "rabbitmq").mkdir()
            self.rabbitmq = brokers.rabbitmq(folder / "rabbitmq", free_port(), free_port(), free_port())
            self.native.changed["WAYFARE_QUEUE_URL"] = self.rabbitmq.url
        self.broker = "rabbitmq" if self.rabbitmq else "queue"
        self.titles = [title for title in LIVES if title not in {"rabbitmq", "queue"} - {self.broker}]
        self.queue_url = self.native.environment("queue-lander")["WAYFARE_QUEUE_URL"]

    def start(self, title: str) -> None:
        """Start a service again; PostgreSQL and RabbitMQ are waited for."""
        if title == "postgres":
            self._start_postgres()
        elif title == "rabbitmq":
            assert self.rabbitmq
            self.rabbitmq.start()
        else:
            name, copy = (title[:-2], 2) if title.endswith("-2") else (title, 1)
            self.native.start(name, copy)

    def kill(self, title: str) -> None:
        """SIGKILL to all processes of a service."""
        if title == "postgres":
            self._signal_postgres(signal.SIGKILL)
        elif title == "rabbitmq":
            assert self.rabbitmq
            self.rabbitmq.stop()
        else:
            self.native.kill(title)

    def pause(self, title: str, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT to all processes of a service."""
        if title == "postgres":
            self._signal_postgres(number)
        elif title == "rabbitmq":
            assert self.rabbitmq
            assert self.rabbitmq.process
            _signal_all(psutil.Process(self.rabbitmq.process.pid), number)
        else:
            self.native.signal(title, number)

    def ended(self) -> list[str]:
        """Services that ended by themselves; a container engine would start them again."""
        return [title for title, process in self.native.running.items() if process.poll() is not None]

    def start_all(self) -> None:
        """Everything in the order of the file."""
        for title in ("postgres", "redis", self.broker):
            self.start(title)
        self.native.finish("migrate")
        for title in self.titles:
            if title not in self.native.running and title not in ("postgres", "rabbitmq"):
                self.start(title)

    def stop_all(self) -> None:
        """End everything."""
        with contextlib.suppress(ServiceError):
            self.native.stop()
        if self.rabbitmq and self.rabbitmq.process and self.rabbitmq.process.poll() is None:
            self.rabbitmq.stop()

    def _start_postgres(self) -> None:
        self.native.postgres.start()
        until(lambda: not self.native.postgres.recovering(), 300)

    def _signal_postgres(self, number: signal.Signals) -> None:
        pid = int((self.native.postgres.data / "postmaster.pid").read_text().splitlines()[0])
        _signal_all(psutil.Process(pid), number)


def _signal_all(parent: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [parent, *parent.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGKILL:
            psutil.wait_procs(processes, 10)
