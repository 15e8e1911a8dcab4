"""The embedded server: it starts, survives a kill, asks for a password, and listens on this machine only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from wayfare.local.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, free_port: int) -> Iterator[EmbeddedPostgres]:
    folder: Path = tmp_path_factory.mktemp("pg")
    made = EmbeddedPostgres(folder / "it's data", free_port, "secret-of-this-test")
    made.start()
    yield made
    made.stop()


def test_it_survives_a_kill_and_keeps_what_was_committed(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url("postgres")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
    postmaster.kill()
    postmaster.wait(10)
    server.start()
    with psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    server.start()
    assert server.running()


def test_it_is_found_though_somebody_closes_a_folder_above_it(server: EmbeddedPostgres) -> None:
    server.data.parent.chmod(0o700)
    assert server.running()


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("postgres", password="guessed"))


def test_it_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
    addresses = {c.laddr.ip for c in postmaster.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
