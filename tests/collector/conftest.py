"""A collector of the test's own, in a process of its own, on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

import wayfare
from waiting import until
from wayfare.collector import producers
from wayfare.local import postgres as local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from wayfare.settings import Settings

JSON, LINES = "application/json", "application/x-ndjson"


@dataclass
class Collector:
    client: httpx.Client
    process: subprocess.Popen[bytes]

    def answers(self) -> bool:
        assert self.process.poll() is None, "the collector ended"
        try:
            return self.client.get("/metrics").status_code == 200
        except httpx.TransportError:
            return False

    def knows(self, token: str) -> bool:
        return self.post(b"", token).json()["reason"] == "no_events"

    def post(self, body: Any, token: str | None, content_type: str = JSON, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["authorization"] = f"Bearer {token}"
        return self.client.post("/v1/events", content=content, headers={"content-type": content_type, **named})


@pytest.fixture(scope="module")
def installation(fresh_installation: Callable[[], AbstractContextManager[Settings]]) -> Iterator[Settings]:
    with fresh_installation() as made:
        yield made


@pytest.fixture
def settings(installation: Settings) -> Settings:
    """The module's installation, its staging emptied."""
    with psycopg.connect(installation.url("owner")) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'staging'::regnamespace"
        ).fetchall()
        names = ["control.batch", "control.change", *(name for (name,) in tables)]
        connection.execute(f"TRUNCATE {', '.join(names)}".encode())
    return installation


@pytest.fixture(scope="module")
def token(installation: Settings) -> str:
    """Token of the producer `web`, which may send searches and bookings."""
    return producers.add(installation, "web", ["search", "booking"], 1_000_000)


@contextmanager
def serving(port: int) -> Iterator[Collector]:
    """A collector of the environment's installation; it is killed at the end of the block."""
    command = [sys.executable, "-c", "from wayfare.cli import main; main()", "collect", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(Path(wayfare.__file__).parents[1])}
    with (
        subprocess.Popen(command, env=environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            made = Collector(client, process)
            until(made.answers)
            yield made
        finally:
            process.kill()


@pytest.fixture
def start(token: str, free_port: int) -> Callable[[], AbstractContextManager[Collector]]:
    """Starts a collector that knows the producer `web`."""

    @contextmanager
    def started() -> Iterator[Collector]:
        with serving(free_port) as made:
            until(lambda: made.knows(token))
            yield made

    return started


@pytest.fixture(scope="module")
def running(token: str) -> Iterator[Collector]:
    with serving(local.free_port()) as made:
        until(lambda: made.knows(token))
        yield made


@pytest.fixture
def collector(running: Collector, settings: Settings) -> Collector:  # noqa: ARG001  # emptied first
    """The module's collector, which knows the producer `web`."""
    return running
