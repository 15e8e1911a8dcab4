"""Real brokers of Debian's packages, private to a test session: free loopback ports, a folder of their own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kombu.connection import Connection

from programs import required
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@dataclass
class Broker:
    """A broker process; stopping and starting it again keeps what is durable."""

    url: str
    command: list[str]
    environment: dict[str, str]
    folder: Path
    helper: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with (self.folder / "output").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=os.environ | self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        until(self._answers, 300, self._output, 0.1)  # on a machine that is busy with other things

    def stop(self) -> None:
        """End it as a crash would."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _output(self) -> str:
        return (self.folder / "output").read_text()[-2000:]

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self._output()
        with suppress(Exception), Connection(self.url, connect_timeout=2) as connection:
            connection.default_channel.queue_declare("probe", auto_delete=True)
            return True
        return False


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    """The broker, started, with the helper process that it needs; nothing is left of them."""
    helper = subprocess.Popen(broker.helper) if broker.helper else None
    try:
        broker.start()
        yield broker
    finally:
        for process in filter(None, (broker.process, helper)):
            if process.poll() is None:
                (broker.stop if process is broker.process else process.kill)()
            process.wait()


def rabbitmq(folder: Path, port: int, distribution_port: int, epmd_port: int) -> Broker:
    plugins = folder / "plugins"
    plugins.write_text("[].\n")
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"wayfare{secrets.token_hex(4)}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    helper = [required("epmd", "rabbitmq-server"), "-port", str(epmd_port), "-address", "127.0.0.1"]
    command = [required(RABBITMQ, "rabbitmq-server")]
    return Broker(f"amqp://guest:guest@127.0.0.1:{port}//", command, environment, folder, helper)


def redis(folder: Path, port: int) -> Broker:
    password = secrets.token_hex(8)
    command = [
        required("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--requirepass", password,
    ]  # fmt: skip
    return Broker(f"redis://:{password}@127.0.0.1:{port}/0", command, {}, folder)
