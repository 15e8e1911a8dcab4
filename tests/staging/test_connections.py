"""Connections: neither end waits for the other longer than it must, over TCP and over Unix sockets."""

from __future__ import annotations

import multiprocessing
import socket
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from landing.sample_events import query
from wayfare.errors import ConfigurationError, ServiceError
from wayfare.local import accounts
from wayfare.staging import bulk, connections
from wayfare.staging.database import engine, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings

_QUERY = """
SELECT string_agg(setting, ' ' ORDER BY name COLLATE "C") FROM pg_settings
WHERE name LIKE 'tcp_keepalives%' OR name IN ('TimeZone', 'client_encoding', 'default_transaction_isolation')
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """URL of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/nowhere"


def _told(url: str) -> tuple[str, str]:
    with closing(bulk.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(_QUERY)
        (bulky,) = cursor.fetchone()
    with transaction(url) as connection:
        pooled = connection.scalar(text(_QUERY))
    engine(url).dispose()
    return bulky, str(pooled)


def test_the_server_notices_a_client_that_is_lost(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with transaction(settings.url("owner")) as connection:
        database = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"))
    engine(settings.url("owner")).dispose()
    assert _told(settings.url("owner")) == ("UTC UTF8 read committed 3 30 10",) * 2


def test_a_client_notices_a_server_that_is_lost_though_it_was_just_sent_something(settings: Settings) -> None:
    with closing(bulk.connect(settings.url("owner"))) as connection:
        assert connection.info.dsn_parameters["tcp_user_timeout"] == "60000"
    with engine(settings.url("owner")).connect() as pooled:
        assert pooled.connection.driver_connection.info.get_parameters()["tcp_user_timeout"] == "60000"


def _backend(url: str) -> int:
    with transaction(url) as connection:
        return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


def test_a_fork_has_connections_of_its_own(settings: Settings) -> None:
    """Celery's workers fork their tasks: two processes over one socket read each other's answers."""
    url = settings.url("owner")
    mine = _backend(url)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as forks:
        assert forks.submit(_backend, url).result(30) != mine
    assert _backend(url) == mine


def test_a_pooled_connection_that_was_cut_is_not_handed_out(settings: Settings) -> None:
    url = settings.url("owner")
    cut = _backend(url)
    with closing(bulk.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [cut])
    assert _backend(url) != cut


def test_unix_sockets_are_as_good(settings: Settings) -> None:
    folder = query(settings, "SHOW unix_socket_directories")[0][0]
    if not folder:
        pytest.skip("the server has no Unix socket")
    url = engine(settings.url("owner")).url.set(drivername="postgresql", host=None, query={"host": folder})
    assert {told.split()[0] for told in _told(url.render_as_string(hide_password=False))} == {"UTC"}


def test_a_server_that_says_nothing_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections._OPTIONS, "connect_timeout", 2)
    with pytest.raises(ServiceError, match="does not answer"):
        bulk.connect(silent)
    with pytest.raises(ServiceError, match="does not answer"), transaction(silent):
        pass


def test_what_a_url_says_itself_stays() -> None:
    assert connections.arguments("postgresql://x@y/z?connect_timeout=3")["connect_timeout"] == "3"


@pytest.mark.parametrize(
    "user", ["postgresql+psycopg2://me:Secret", "postgresql://me:%Secret", "postgresql://me:a/Secret"]
)
def test_a_url_that_libpq_cannot_read_is_read_and_its_password_not_told(user: str, free_port: int) -> None:
    url = f"{user}@127.0.0.1:{free_port}/wayfare"
    for connect in (bulk.connect, accounts.create_databases, lambda url: transaction(url).__enter__()):
        with pytest.raises(ServiceError, match="refused") as told:
            connect(url)
        assert "Secret" not in str(told.value)


def test_a_password_with_the_sign_before_the_host() -> None:
    with pytest.raises(ConfigurationError, match="more than one @: write %40"):
        connections.arguments("postgresql://me:a@Secret@127.0.0.1/wayfare")
