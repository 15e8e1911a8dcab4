"""The pages under /wayfare: closed to whom Airflow does not let in, and harmless to whom it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import stores
from wayfare.analyses import registry
from wayfare.quality import docs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.testclient import TestClient
    from httpx import Response

    from wayfare.settings import Settings

HOSTILE = "<script>alert(1)</script>"
PAGES = ["marts", "marts/economic_results", "docs/index.html", "docs/validations/economic_results/input/k/index.html"]


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """Airflow's own API server with the plugin in it."""
    from airflow.api_fastapi.app import cached_app
    from fastapi.testclient import TestClient

    with TestClient(cached_app(), base_url="http://localhost:8080", raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def get(client: TestClient) -> Callable[..., Response]:
    """GET a page of ours as a user with a role, or as nobody."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def fetch(path: str, *, role: str | None = "viewer", anonymous: bool = False) -> Response:
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="someone", role=role))
        client.cookies.clear()
        headers = {} if anonymous else {"Cookie": f"_token={token}"}
        return client.get(f"/wayfare/{path}", headers=headers, follow_redirects=False)

    return fetch


def _routes() -> list[str]:
    from wayfare_airflow.ui.app import app

    values = {"{analysis}": "economic_results", "{gate}": "input", "{chunk}": "k"}
    paths = [route.path for route in app.routes]
    for name, value in values.items():
        paths = [path.replace(name, value) for path in paths]
    return [path.removeprefix("/") for path in paths]


@pytest.mark.usefixtures("settings")
def test_every_route_is_closed(get: Callable[..., Response]) -> None:
    routes = _routes()
    assert set(PAGES) == set(routes)
    for path in routes:
        assert get(path, anonymous=True).status_code == 401, path
        assert get(path, role=None).status_code == 403, path
        assert get(path, role="viewer").status_code in {200, 404}, path


@pytest.mark.usefixtures("settings")
def test_what_is_of_all_analyses_is_closed_to_who_may_read_one(
    get: Callable[..., Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under FAB, to which a question about no DAG is whether there is any that the user may read."""
    from airflow.api_fastapi.app import get_auth_manager

    def is_authorized_dag(*, details: Any = None, **_: object) -> bool:
        return details is None or details.id == "economic_results"

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", is_authorized_dag)
    codes = {path: get(path).status_code for path in [*PAGES, "marts/sessions"]}
    assert {path for path, code in codes.items() if code != 403} == {PAGES[1], PAGES[3]}


@pytest.mark.usefixtures("settings")
def test_what_is_of_all_analyses_is_closed_where_all_are_left_out(
    get: Callable[..., Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_found", lambda: ({}, {"wayfare.analyses.sales": "cannot be imported"}))
    for path in ("marts", "docs/index.html"):
        assert get(path, role="admin").status_code == 403
        assert "`wayfare check` says why" in get(path).text


@pytest.mark.usefixtures("settings")
def test_a_forged_token_opens_nothing(client: TestClient) -> None:
    for path in PAGES:
        assert client.get(f"/wayfare/{path}", headers={"Authorization": "Bearer forged"}).status_code == 403


@pytest.mark.parametrize("path", ["", "docs", "redoc", "openapi.json", "static/x.css", "docs/validations/"])
@pytest.mark.usefixtures("settings")
def test_nothing_else_is_served(get: Callable[..., Response], path: str) -> None:
    assert get(path, role="admin").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "docs/../secrets.env",
        "docs/%2e%2e/secrets.env",
        "docs/validations/economic_results/input/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fsecrets/index.html",
        "docs/validations/economic_results/%2e%2e/k/index.html",
        "docs/validations/%2e%2e/input/k/index.html",
        "docs/validations/economic_results/input/%2e%2e/index.html",
        "docs/validations/economic_results/input/k%00/index.html",
    ],
)
def test_only_data_docs_pages_leave_the_disk(get: Callable[..., Response], settings: Settings, path: str) -> None:
    _write_page(settings, "k", "a page")
    settings.home.joinpath("secrets.env").write_text("SECRET=1")
    for outside in (settings.home / "secrets", settings.home / "storage/data_docs/validations/economic_results/k"):
        outside.mkdir(parents=True)
        outside.joinpath("index.html").write_text("SECRET=1")
    answer = get(path, role="admin")
    assert answer.status_code in {404, 422}
    assert "SECRET" not in answer.text


def test_pages_cannot_run_scripts(get: Callable[..., Response], settings: Settings) -> None:
    _write_page(settings, "k", f"<html><head></head><body>{HOSTILE}</body></html>")
    for path in PAGES:
        policy = get(path).headers["content-security-policy"].split("; ")
        # default-src speaks of neither forms nor frames
        closed = {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'"}
        assert {*closed, "sandbox allow-same-origin"} <= set(policy)
        assert not [rule for rule in policy if rule.startswith("script-src")]
        assert get(path).headers["x-content-type-options"] == "nosniff"
        assert get(path).headers["cache-control"] == "no-store", "who logged out leaves nothing to go back to"


def test_data_docs_page_is_shown(get: Callable[..., Response], anywhere: Settings) -> None:
    _write_page(anywhere, "2026-03-01_k", "<html><head></head><body>the verdicts</body></html>")
    answer = get("docs/validations/economic_results/input/2026-03-01_k/index.html")
    assert answer.status_code == 200
    assert "the verdicts" in answer.text
    assert get("docs/index.html").status_code == 200
    assert get("docs/validations/economic_results/output/2026-03-01_k/index.html").status_code == 404


def test_mart_page_shows_rows_columns_and_comments_escaped(get: Callable[..., Response], settings: Settings) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        view = psycopg.sql.SQL(
            "CREATE VIEW bi.economic_results AS SELECT DATE '2026-03-01' AS booked_on, 'X' AS line, {} AS product,"
            " 'EUR' AS currency, 'PT' AS point_of_sale, 7 AS units"
        )
        connection.execute(view.format(HOSTILE))
        comment = psycopg.sql.SQL("COMMENT ON COLUMN bi.economic_results.units IS {}").format(f"Units {HOSTILE}")
        connection.execute(comment)
    answer = get("marts/economic_results")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert answer.text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    assert "2026-03-01" in answer.text


def test_mart_page_before_the_first_publication(get: Callable[..., Response], settings: Settings) -> None:
    assert settings.url("owner")
    assert "Nothing is published yet" in get("marts/economic_results").text
    unknown = get("marts/no_such_mart")
    assert unknown.status_code == 404
    assert "was added or changed since it started after a restart" in unknown.text


def test_mart_page_reads_the_last_days_only(get: Callable[..., Response], settings: Settings) -> None:
    """The view cannot be read whole: on its first day it divides by 0."""
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(
            "CREATE VIEW bi.economic_results AS SELECT day AS booked_on, 'X' AS line, 'Y' AS product,"
            " 'EUR' AS currency, 'PT' AS point_of_sale, 4711 / (day - '2026-03-01') AS units"
            " FROM (SELECT DATE '2026-03-01' + n / 100 AS day FROM generate_series(0, 299) AS n) AS days"
        )
        connection.execute(
            "INSERT INTO control.published_day SELECT 'economic_results', DATE '2026-03-01' + n, 1, 1, 'f', 100"
            " FROM generate_series(0, 2) AS n"
        )
    assert "200 at most: 200." in get("marts/economic_results").text


def test_list_of_marts_says_how_fresh_they_are(get: Callable[..., Response], settings: Settings) -> None:
    from wayfare_airflow.ui import data

    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(
            "INSERT INTO control.publication (analysis, output_from, output_to, through_batch, fingerprint, rows,"
            " seconds, run_id, published_at) SELECT 'economic_results', '2026-03-01', '2026-03-02', n, 'f', 1, 1, 'r',"
            " timestamptz '2026-03-03 00:00:00Z' + n * interval '1 s' FROM generate_series(1, 14706) AS n"
        )
        connection.execute(
            "INSERT INTO control.published_day SELECT 'economic_results', DATE '2026-03-01' + n, 14706 - n, 14706 - n,"
            " 'f', 1 FROM generate_series(0, 1) AS n"
        )
        connection.execute("ANALYZE control.publication, control.published_day")
    answer = get("marts")
    assert "14706" in answer.text
    assert "2026-03-03 04:05:06" in answer.text
    with data._reading(settings) as cursor:
        explained = str(cursor.execute(f"EXPLAIN {data._PUBLICATIONS}".encode()).fetchall())
    assert "Seq Scan on publication" not in explained, "a year of steady landing has two million"


def test_a_database_that_does_not_answer_is_said_so(
    get: Callable[..., Response], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare.settings import get_settings

    monkeypatch.setenv("WAYFARE_PIPELINE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert settings.home
    assert get("marts").status_code == 503
    monkeypatch.delenv("WAYFARE_PIPELINE_URL")
    monkeypatch.delenv("WAYFARE_DATABASE_URL")
    get_settings.cache_clear()
    assert (get("marts").status_code, get("marts").text[:12]) == (503, "no database:")


def test_a_database_that_takes_too_long_or_is_not_migrated_is_said_so(
    get: Callable[..., Response], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare_airflow.ui import data

    monkeypatch.setattr(data, "STATEMENT_TIMEOUT", "200ms")
    with psycopg.connect(settings.url("owner"), autocommit=True) as connection:
        connection.execute(
            "CREATE VIEW bi.economic_results AS SELECT DATE '2026-03-01' AS booked_on, 'X' AS line, 'Y' AS product,"
            " 'EUR' AS currency, 'PT' AS point_of_sale, pg_sleep(9)::text AS units"
        )
        slow = get("marts/economic_results")
        assert (slow.status_code, slow.text[:33]) == (503, "PostgreSQL took longer than 200ms")
        connection.execute("DROP SCHEMA control CASCADE")
    assert (get("marts").status_code, "run `wayfare migrate`" in get("marts").text) == (503, True)


def test_pages_read_only(settings: Settings) -> None:
    from wayfare_airflow.ui import data

    with data._reading(settings) as cursor, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        cursor.execute("DELETE FROM control.publication")


def test_a_storage_that_does_not_answer_is_said_so(
    get: Callable[..., Response], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare.settings import get_settings

    monkeypatch.setenv("WAYFARE_STORAGE_URL", "nosuch://bucket")
    get_settings.cache_clear()
    assert settings.home
    assert get("docs/index.html").status_code == 503


def _write_page(settings: Settings, chunk: str, text: str) -> None:
    stores.write(docs.page_url(settings.storage, "economic_results", "input", chunk), text.encode())
    stores.write(docs.index_url(settings.storage), b"<html><head></head><body></body></html>")
