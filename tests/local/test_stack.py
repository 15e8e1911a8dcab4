"""What is left of an installation whose supervisor was killed."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import psycopg
import psycopg2
import pytest
from dotenv import dotenv_values

from wayfare.errors import ConfigurationError
from wayfare.local import stack
from wayfare.local.postgres import EmbeddedPostgres
from wayfare.local.supervisor import remember
from wayfare.settings import Settings, get_settings
from wayfare.staging.connections import arguments

if TYPE_CHECKING:
    from pathlib import Path


def test_down_stops_what_a_killed_supervisor_left(tmp_path_factory: pytest.TempPathFactory, free_port: int) -> None:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, database_port=free_port)
    postgres = EmbeddedPostgres(home / "postgres", free_port, "secret-of-this-test")
    postgres.start()
    (home / "logs").mkdir()
    scheduler = subprocess.Popen(["sleep", "600"], start_new_session=True)
    remember(home / "logs" / "scheduler.pid", psutil.Process(scheduler.pid))

    assert stack.stop_running(settings)

    assert not psutil.pid_exists(scheduler.pid)
    scheduler.wait()
    assert not postgres.running()
    assert not stack.stop_running(settings)


def test_of_two_that_start_at_once_one_has_the_home(tmp_path: Path, free_port: int) -> None:
    settings = Settings(home=tmp_path / "home", database_port=free_port)
    with contextlib.ExitStack() as first:
        stack._claim(settings, first)
        (settings.home / "wayfare.pid").unlink()  # as before the first has written it
        with pytest.raises(ConfigurationError, match="Wayfare already runs here"):
            stack.start(settings, print)
    with contextlib.ExitStack() as second:
        stack._claim(settings, second)
    assert not (settings.home / "wayfare.pid").exists()


@pytest.mark.parametrize(("taken", "variable"), [("port", "WAYFARE_PORT"), ("database_port", "WAYFARE_DATABASE_PORT")])
def test_a_port_that_is_taken_is_told_before_anything_starts(
    taken: str, variable: str, tmp_path: Path, free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # the database's in either case, so that nothing starts even where nobody asks for the other
        ports = {"port": free_port, taken: port, "database_port": port}
        with pytest.raises(ConfigurationError, match=rf"^port {port} is taken; set {variable} to a free one"):
            stack.start(Settings(home=tmp_path / "home", **ports), print)
    assert not {"wayfare.pid", "postgres"} & {file.name for file in (tmp_path / "home").iterdir()}


def _is_not_told_in_clear(port: int, url: str) -> None:
    """A stranger who has the database's port asks for the password as it is, and gets nothing."""
    with ThreadPoolExecutor() as pool, socket.create_server(("127.0.0.1", port)) as listening:
        for connect in (psycopg.connect, psycopg2.connect):
            refused = pool.submit(connect, **arguments(url))
            stranger, _ = listening.accept()
            with stranger:
                stranger.recv(8)  # whether it speaks TLS
                stranger.sendall(b"N")
                stranger.recv(1000)
                stranger.sendall(b"R" + struct.pack("!II", 8, 3))
                assert stranger.recv(1000) == b""
            with pytest.raises((psycopg.OperationalError, psycopg2.OperationalError), match="requirement"):
                refused.result()


def test_urls_of_another_server_are_refused(
    tmp_path_factory: pytest.TempPathFactory, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home: Path = tmp_path_factory.mktemp("home")
    home.chmod(0o755)
    monkeypatch.setenv("WAYFARE_HOME", str(home))
    monkeypatch.setenv("WAYFARE_LANDING_URL", "postgresql://wayfare_landing@db.example/wayfare")
    monkeypatch.delenv("WAYFARE_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match=r"^WAYFARE_LANDING_URL: not the server"):
        stack.start(Settings(home=home, database_port=free_port), print)
    _is_not_told_in_clear(free_port, dotenv_values(home / "secrets.env")["WAYFARE_PIPELINE_URL"] or "")
    get_settings.cache_clear()
    assert not EmbeddedPostgres(home / "postgres", free_port, "").running()
    assert not home.stat().st_mode & 0o067, "what is kept there is for its owner alone"
