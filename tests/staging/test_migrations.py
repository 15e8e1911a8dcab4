"""Upgrades: whatever an installation was made by, migrating gives it the schema that is declared, and keeps its data.

`first_release.sql` is a dump of an installation of the first release, from before revisions were counted, into which
`first_release.jsonl` was landed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import MetaData, text

import waiting
from landing.sample_events import query
from marts import tiny
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES, Field, Kind
from wayfare.errors import ConfigurationError, DeclarationError, ServiceError, ZoneError
from wayfare.landing import Landed, land, replay
from wayfare.marts import publish
from wayfare.settings import PROJECT, Settings
from wayfare.staging import database, locks, migrations, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.local.postgres import EmbeddedPostgres

FIRST_RELEASE = Path(__file__).with_name("first_release.sql")
ITS_EVENTS = Path(__file__).with_name("first_release.jsonl")


@pytest.fixture
def empty(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database in which there is nothing."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administering:
        administering.execute(f"CREATE DATABASE {name}")
        try:
            yield Settings(database_url=postgres.url(name), home=tmp_path / "home")
        finally:
            database.engine(postgres.url(name)).dispose()
            administering.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _differences(settings: Settings) -> list[Any]:
    """What a database has otherwise than declared."""
    with database.engine(settings.url("owner")).connect() as connection:
        options = {
            "version_table_schema": migrations.VERSION_SCHEMA,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name in {"staging", "control"},
            "compare_server_default": True,
        }
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)
    return found


def _revision(settings: Settings) -> str | None:
    with database.engine(settings.url("owner")).connect() as connection:
        return migrations.revision(connection)


def _restore(settings: Settings, *, statements: str = "") -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(statements or FIRST_RELEASE.read_text(encoding="utf-8"))


def _install(settings: Settings, revision: str) -> None:
    """The schemas as a revision made them."""
    with database.engine(settings.url("owner")).begin() as connection:
        for schema in database.SCHEMAS:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        migrations.upgrade(connection, revision)


def test_a_new_database_gets_what_is_declared(empty: Settings) -> None:
    _restore(empty, statements="GRANT ALL ON SCHEMA public TO PUBLIC")  # as before PostgreSQL 15
    database.migrate(empty)
    assert _differences(empty) == []
    assert _revision(empty) == migrations.head() == database.REVISION == max(migrations.known())
    with database.engine(empty.url("owner")).connect() as connection:
        assert migrations.additions(connection) == []
        assert list(migrations.descriptions(connection)) == []
    assert query(empty, "SELECT has_schema_privilege('wayfare_bi', 'public', 'USAGE, CREATE')") == [(False,)]


def test_the_comparison_sees_a_difference(settings: Settings) -> None:
    _restore(settings, statements="ALTER TABLE control.batch DROP COLUMN rejected; DROP INDEX staging.search_event_on")
    assert {difference[0] for difference in _differences(settings)} == {"add_column", "add_index"}


@pytest.mark.parametrize("counted", [False, True], ids=["before revisions were counted", "at the first revision"])
def test_an_installation_of_the_first_release_is_upgraded_with_its_events(empty: Settings, counted: bool) -> None:
    if counted:
        _install(empty, "0001")
        lines = FIRST_RELEASE.read_text(encoding="utf-8").splitlines()
        _restore(empty, statements="\n".join(line for line in lines if line.startswith(("INSERT", "SELECT"))))
    else:
        _restore(empty)
    database.migrate(empty)
    assert _differences(empty) == []
    assert _revision(empty) == migrations.head()
    staged = {name: query(empty, f"SELECT count(*) FROM staging.{name}")[0][0] for name in EVENT_TYPES}
    assert staged == dict.fromkeys(EVENT_TYPES, 2) | {"cancellation": 1, "refund": 1}
    assert land(empty, [str(ITS_EVENTS)]) == Landed(read=18, duplicates=16, conflicts=1, rejected=1)
    assert replay(empty).read == 4
    assert query(empty, "SELECT DISTINCT sealed FROM staging.rejection") == [(False,)]
    assert query(empty, "SELECT timezone FROM control.installation") == [("UTC",)]


_BEFORE_0006 = """
INSERT INTO staging.rejection (batch_id, source, format, line, reason, message, raw, header, raw_digest)
  SELECT 1, {source}, 'csv', 2, 'missing_field', 'm', {raw}, {header}, md5({raw})::uuid;
INSERT INTO control.batch VALUES (1, now(), 'x', 0, 0, 0, 1);
"""


@pytest.mark.parametrize("landed_between", [False, True])
def test_a_row_of_csv_refused_before_it_was_known_by_its_header_is_known_again(
    empty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landed_between: bool
) -> None:
    _install(empty, "0005")
    file, header, raw = tmp_path / "a.csv", "event_type,r\u00e9f\\", b"search,\\\xc3\xa9"
    file.write_bytes(header.encode() + b"\n" + raw + b"\n")
    kept = {"source": str(file), "raw": raw, "header": header}
    _restore(empty, statements=_BEFORE_0006.format_map({n: sql.Literal(v).as_string() for n, v in kept.items()}))
    if landed_between:  # as a timer did between installation and migration, before landing asked for the revision
        monkeypatch.setattr(database, "REVISION", "0005")
        zone = "INSERT INTO control.installation (timezone) VALUES ('UTC');"
        _restore(empty, statements=database._ROLES + database._GRANTS + zone)
        assert land(empty, [str(file)]).rejected == 1
        monkeypatch.undo()
    kept_as = 1 + landed_between
    database.migrate(empty)
    assert land(empty, [str(file)]).rejected == 1
    assert query(empty, "SELECT rejection_id, batch_id FROM staging.rejection") == [(kept_as, kept_as)]


_VINTAGE = """
CREATE TABLE marts.stock (resource_id text NOT NULL, service_on date NOT NULL, on_hand bigint NOT NULL,
  published_in bigint NOT NULL, superseded_in bigint);
CREATE INDEX stock_day ON marts.stock (service_on) WHERE superseded_in IS NULL;
ALTER TABLE marts.stock OWNER TO wayfare_pipeline;
INSERT INTO control.publication (analysis, output_from, output_to, through_batch, fingerprint, rows, seconds, run_id)
  SELECT 'stock', '2026-03-01', '2026-03-01', n, repeat('f', 64), 2, 0, 'test' FROM generate_series(1, 2) AS n;
INSERT INTO marts.stock VALUES ('a:b', '2026-03-01', 1, 1, NULL), ('c', '2026-03-01', 2, 1, 2),
  ('c', '2026-03-01', 3, 2, NULL);
CREATE VIEW bi.stock AS SELECT mart.service_on, mart.resource_id, mart.on_hand FROM marts.stock AS mart
  WHERE superseded_in IS NULL;
CREATE VIEW bi.stock_history AS SELECT mart.service_on, mart.resource_id, opened.published_at,
  closed.published_at AS superseded_at, mart.on_hand FROM marts.stock AS mart
  JOIN control.publication AS opened ON opened.publication_id = mart.published_in
  LEFT JOIN control.publication AS closed ON closed.publication_id = mart.superseded_in;
GRANT SELECT ON bi.stock, bi.stock_history TO wayfare_bi;
ALTER VIEW bi.stock OWNER TO wayfare_pipeline;
ALTER VIEW bi.stock_history OWNER TO wayfare_pipeline;
CREATE VIEW public.mine AS SELECT sum(on_hand) AS units FROM bi.stock;
"""


def test_readers_of_a_vintage_see_what_they_saw_before_its_closed_rows_moved(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(empty, "0004")
    _restore(empty, statements=database._ROLES + database._GRANTS + _VINTAGE)
    seen = "SELECT * FROM bi.stock_history ORDER BY resource_id, published_at, on_hand"
    before = query(empty, seen)
    with psycopg.connect(empty.url("owner"), autocommit=True) as owner:
        owner.execute("GRANT UPDATE ON staging.rejection TO wayfare_landing")  # as it was
    database.migrate(empty)
    may = (
        "SELECT has_column_privilege('wayfare_landing', 'staging.rejection', unnest(ARRAY['raw', 'reason']), 'UPDATE')"
    )
    assert query(empty, may) == [(False,), (True,)]
    assert query(empty, seen) == before
    assert query(empty, "SELECT resource_id, on_hand, published_in FROM marts.stock ORDER BY 1") == [
        *(("a:b", 1, 1), ("c", 3, 2)),
    ]
    tiny.install(monkeypatch, tiny.Stock())
    chunk = Chunk("stock", (tiny.day(0),), 3, "f" * 64)
    tiny.write_result(empty, chunk, [("a:b", tiny.day(0), 1), ("c", tiny.day(0), 5)])
    publish(empty, chunk, run_id="test")
    assert query(empty, "SELECT resource_id, on_hand FROM bi.stock ORDER BY 1") == [("a:b", 1), ("c", 5)]
    closed = "SELECT on_hand FROM bi.stock_history WHERE superseded_at IS NOT NULL ORDER BY 1"
    assert query(empty, closed) == [(2,), (3,)]
    with psycopg.connect(empty.url("owner")) as reader:
        assert reader.execute("SELECT units FROM public.mine").fetchall() == [(6,)]
        reader.execute("SET ROLE wayfare_bi")
        assert reader.execute("SELECT count(*) FROM bi.stock, bi.stock_history").fetchall() == [(8,)]


_BEFORE_0009 = """
INSERT INTO control.batch SELECT n, now(), 'x', 0, 0, 0, 0 FROM generate_series(1, 4) AS n;
INSERT INTO staging.travel (event_id, schema_version, occurred_at, source, booking_id, item_id, outcome, event_on,
    landed_at, batch_id)
  SELECT gen_random_uuid(), '1-0-0', day, 'x', 'b' || extract(day FROM day), '1', 'completed', day, now(), 2
  FROM generate_series(DATE '2026-03-03', DATE '2026-03-05', '1 day') AS day;
INSERT INTO staging.cancellation (event_id, schema_version, occurred_at, source, cancellation_id, booking_id, units,
    initiator, event_on, landed_at, batch_id)
  SELECT gen_random_uuid(), '1-0-0', day, 'x', 'c', booking_id, 1, 'customer', day, now(), batch_id
  FROM (VALUES ('b3', DATE '2026-03-04', 3), ('b4', '2026-03-01', 3), ('b4', '2026-03-02', 4), ('b5', '2026-03-01', 1))
    AS made (booking_id, day, batch_id);
INSERT INTO control.change VALUES ('travel', '2026-03-04', 2, 1), ('travel', '2026-03-04', 4, 9);
"""


def test_travel_that_a_cancellation_landed_after_is_known_to_have_changed(empty: Settings) -> None:
    _install(empty, "0008")
    _restore(empty, statements=_BEFORE_0009)
    database.migrate(empty)
    logged = "SELECT event_on::text, batch_id, rows FROM control.change ORDER BY 1, 2"
    assert query(empty, logged) == [("2026-03-04", 2, 1), ("2026-03-04", 3, 0), ("2026-03-04", 4, 9)]


def test_migrating_again_changes_nothing(settings: Settings) -> None:
    written = """
        SELECT attrelid::int, attnum, a.xmin::text, d.xmin::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
        LEFT JOIN pg_description d ON objoid = attrelid AND objsubid = attnum
        WHERE nspname IN ('staging', 'control') ORDER BY 1, 2
    """
    before = query(settings, written)
    assert before
    database.migrate(settings)
    assert query(settings, written) == before


def test_the_zone_that_days_were_made_in_stays(settings: Settings) -> None:
    with pytest.raises(ZoneError, match="was filled with days of UTC: set WAYFARE_TIMEZONE=UTC"):
        database.migrate(settings.model_copy(update={"timezone": "Asia/Tokyo"}))


def test_a_later_version_is_not_migrated_back(settings: Settings) -> None:
    _restore(settings, statements="UPDATE control.alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"revision 9999.*install the version that migrated it"):
        database.migrate(settings)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_does_not_hold_every_text_is_refused(empty: Settings, encoding: str) -> None:
    other = f"{empty.url('owner')}_other"
    with psycopg.connect(empty.url("owner"), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {other.rpartition('/')[2]} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
        try:
            with pytest.raises(ConfigurationError, match=f"is in {encoding}, .* ENCODING 'UTF8'"):
                database.migrate(Settings(database_url=other, home=empty.home))
        finally:
            database.engine(other).dispose()
            connection.execute(f"DROP DATABASE {other.rpartition('/')[2]} WITH (FORCE)")


def test_a_failing_migration_leaves_nothing(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_GRANTS", "GRANT nonsense")
    with pytest.raises(Exception, match="nonsense"):
        database.migrate(empty)
    assert query(empty, "SELECT nspname FROM pg_namespace WHERE nspname IN ('staging', 'control')") == []


def test_a_required_field_asks_for_a_major_version(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = EVENT_TYPES["travel"]
    grown = replace(travel, fields=(*travel.fields, Field("gate", Kind.TEXT, "Gate.")))
    monkeypatch.setattr(migrations, "STAGED", {"travel": tables.event_table(grown, MetaData())})
    with pytest.raises(DeclarationError, match=r"staging\.travel lacks the required field 'gate'"):
        database.migrate(settings)


def test_a_contract_may_gain_what_booking_ids_are_found_by(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    view = EVENT_TYPES["view"]
    field = Field("booking_id", Kind.ID, "The booking.", required=False)
    gained, version = replace(view, fields=(*view.fields, field)), MetaData()
    both = (gained, replace(gained, version="2-0-0"))
    monkeypatch.setattr(migrations, "STAGED", {e.name: tables.event_table(e, version) for e in both})
    database.migrate(settings)
    indexes = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'view%booking_id' ORDER BY 1"
    assert query(settings, indexes) == [("view_booking_id",), ("view_v2_booking_id",)]


def test_a_reader_who_stays_does_not_hold_up_the_others(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(empty, "0003")
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(empty.url("owner"), application_name="report") as reader:
        reader.execute("SELECT * FROM staging.rejection")
        told = rf"in use for 100ms by pid {reader.info.backend_pid} \(account \w+, application report, since 2.*\);"
        with pytest.raises(ServiceError, match=told):
            database.migrate(empty)
        assert query(empty, "SELECT count(*) FROM staging.rejection") == [(0,)]
    assert _revision(empty) == "0003"
    database.migrate(empty)
    assert _differences(empty) == []


def test_migrating_waits_for_the_batch_that_is_being_landed(empty: Settings) -> None:
    """It may log what is in staging by then, and so must see what older code stages."""
    _install(empty, "0008")
    with ThreadPoolExecutor() as pool, psycopg.connect(empty.url("owner")) as lander:
        lander.execute(database.AT_REVISION)
        migrating = pool.submit(database.migrate, empty)
        waiting.until(lambda: query(empty, "SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        lander.execute(_BEFORE_0009)
        lander.commit()
        migrating.result()
    assert query(empty, "SELECT rows FROM control.change WHERE batch_id = 3") == [(0,)]


def test_migrating_and_a_transaction_that_wait_for_each_other_end_with_a_sentence(empty: Settings) -> None:
    _install(empty, "0002")
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with ThreadPoolExecutor() as pool, psycopg.connect(empty.url("owner")) as report:
        report.execute("SELECT * FROM control.validation")
        report.execute("SET deadlock_timeout = '1h'")
        with psycopg.connect(empty.url("owner")) as lander:
            lander.execute("SELECT * FROM staging.rejection")
            migrating = pool.submit(database.migrate, empty)
            waiting.until(lambda: query(empty, blocked) == [(1,)])
            reporting = pool.submit(report.execute, "SELECT * FROM staging.identity")
            waiting.until(lambda: query(empty, blocked) == [(2,)])
        with pytest.raises(ServiceError, match=r"nothing was migrated: .* waited for each other; migrate again"):
            migrating.result()
        assert reporting.result().fetchall() == []
    assert _revision(empty) == "0002"


_MIGRATE = "from wayfare.settings import get_settings; from wayfare.staging import database; "


def test_two_processes_may_migrate_at_once(empty: Settings) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT / "include"),
        "WAYFARE_DATABASE_URL": empty.url("owner"),
        "WAYFARE_HOME": str(empty.home),
    }
    command = [sys.executable, "-c", f"{_MIGRATE}database.migrate(get_settings())"]
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(empty.url("owner")) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (locks.MIGRATION_LOCK,))
        both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        deadline = time.monotonic() + 60
        while query(empty, waiting) != [(2,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert [process.communicate(timeout=60)[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert _differences(empty) == []
