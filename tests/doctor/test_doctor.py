"""`wayfare doctor` names each thing that is broken, and what to do, on a real installation with one thing broken."""

from __future__ import annotations

import json
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec
import psycopg
import pytest
from typer.testing import CliRunner

from landing.sample_events import event, write
from wayfare import doctor, storage
from wayfare import settings as configuration
from wayfare.analyses import registry
from wayfare.cli.doctor import app
from wayfare.doctor import machine, postgres
from wayfare.landing import land, replay
from wayfare.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wayfare.doctor import Finding


@pytest.fixture(autouse=True)
def _lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that fits what is installed, and no Airflow in the environment."""
    (tmp_path / "requirements.txt").write_text(f"typer=={machine._installed('typer')} \\\n    --hash=sha256:0\n")
    monkeypatch.setattr(configuration, "PROJECT", tmp_path)
    for variable in ("AIRFLOW__API__BASE_URL", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        monkeypatch.delenv(variable, raising=False)


def failures(settings: Settings) -> list[Finding]:
    return [finding for finding in doctor.examine(settings) if finding.status == "failed"]


def the_failure(settings: Settings) -> Finding:
    (found,) = failures(settings)
    assert found.fix
    return found


def run(settings: Settings, statement: str) -> None:
    with psycopg.connect(settings.url("owner"), autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def login(settings: Settings, *, role: str, options: str = "") -> Iterator[str]:
    """The URL of an account of its own that is a member of a role."""
    name, place = f"doctor_{role}", psycopg.conninfo.conninfo_to_dict(settings.url("owner"))
    run(settings, f"CREATE ROLE {name} LOGIN PASSWORD 'secret' IN ROLE {role} {options}")
    try:
        yield f"postgresql://{name}:secret@{place['host']}:{place['port']}/{place['dbname']}"
    finally:
        run(settings, f"DROP OWNED BY {name}")
        run(settings, f"DROP ROLE {name}")


def with_url(settings: Settings, role: str, url: str) -> Settings:
    return Settings(**{**settings.model_dump(), f"{role}_url": url})


def test_a_sound_installation(anywhere: Settings, tmp_path: Path) -> None:
    settings = anywhere
    file = write(tmp_path / "a.jsonl", [event(), event("travel", 2, outcome="lost"), b"nonsense", b"no"])
    with (
        login(settings, role="wayfare_landing") as landing,
        login(settings, role="wayfare_pipeline") as pipeline,
        login(settings, role="wayfare_bi") as bi,
    ):
        given = {"landing_url": landing, "pipeline_url": pipeline, "bi_url": bi}
        landing_alone = Settings(**{**settings.model_dump(), **given, "database_url": None})
        land(landing_alone, [file])
        run(settings, "UPDATE staging.rejection SET resolved_batch_id = batch_id")
        land(landing_alone, [file])
        replay(landing_alone)
        run(settings, "UPDATE staging.rejection SET resolved_batch_id = batch_id WHERE line = 4")
        found = list(doctor.examine(Settings(**{**settings.model_dump(), **given})))
    assert {f.check: f.status for f in found} == {
        **dict.fromkeys(
            ("database", "database.version", "database.disk", "database.schema", "database.timezone"), "ok"
        ),
        **dict.fromkeys(("clock", "role.landing", "role.pipeline", "role.bi", "storage", "engine"), "ok"),
        **dict.fromkeys(("folder.spill", "currency", "versions.python", "versions.packages", "analyses"), "ok"),
        **dict.fromkeys(("rejections", "quarantine", "airflow"), "info"),
    }
    told = {f.check: f.found for f in found}
    assert told["rejections"] == "bad_choice 1, bad_json 1 (list them: `wayfare rejections`)"
    assert "secret" not in " ".join(told.values())
    assert storage.files(settings.storage) == {}


def test_the_command_says_what_to_do_and_ends_with_1(settings: Settings) -> None:
    sound = CliRunner().invoke(app, [])
    assert sound.exit_code == 0, sound.output
    assert "failed" not in sound.output
    run(settings, "UPDATE control.installation SET timezone = 'Europe/Lisbon'")
    broken = CliRunner().invoke(app, [])
    assert broken.exit_code == 1
    assert "-> set WAYFARE_TIMEZONE=Europe/Lisbon, or land into a new database" in broken.output
    asked = CliRunner().invoke(app, ["--json"])
    assert asked.exit_code == 1
    (found,) = [f for f in json.loads(asked.output) if f["status"] == "failed"]
    assert found["check"] == "database.timezone"


def test_no_database_is_configured(tmp_path: Path) -> None:
    found = the_failure(Settings(home=tmp_path / "home"))
    assert (found.check, found.found) == ("database", "no database is configured")
    assert not (tmp_path / "home").exists()
    told = {f.check: f.found for f in doctor.examine(Settings(home=tmp_path / "home", currency="AED"))}
    assert told["currency"].startswith("the European Central Bank has no rates of AED")


def test_an_analysis_that_is_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.broken(), "wayfare.analyses.mine", "cannot be imported")
    found = the_failure(settings)
    assert (found.check, found.found) == ("analyses", "left out: wayfare.analyses.mine")


def test_a_mart_whose_analysis_is_gone(settings: Settings) -> None:
    run(settings, "INSERT INTO control.published_day VALUES ('gone', '2026-01-01', 1, 1, 'f', 1)")
    found = the_failure(settings)
    assert (found.check, found.found) == ("analyses", "published before and not found now: gone")


def test_secrets_that_a_power_failure_cut_short(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "secrets.env").write_text("WAYFARE_SECRET_OWNER=x\nWAYFARE_SECRET_LAN")
    found = [f for f in failures(Settings(home=tmp_path)) if f.check != "database"]
    assert [f.check for f in found] == ["secrets"]
    assert f"{tmp_path / 'secrets.env'} is damaged, it lacks the secrets landing, " in found[0].found


def test_a_database_that_does_not_answer(tmp_path: Path, free_port: int) -> None:
    url = f"postgresql://wayfare:secret@127.0.0.1:{free_port}/wayfare"
    found = the_failure(Settings(home=tmp_path / "home", database_url=url))
    assert found.check == "database"
    assert f"127.0.0.1:{free_port}/wayfare: " in found.found
    assert "secret" not in found.found
    assert "`wayfare up`" in found.fix


SCHEMAS: list[tuple[str, str, str]] = [
    ("DROP SCHEMA control CASCADE", "Wayfare's schema is missing", "wayfare migrate"),
    ("UPDATE control.alembic_version SET version_num = '9999'", "revision 9999, later than", "upgrade Wayfare"),
    ("ALTER TABLE staging.travel DROP COLUMN units", "staging lacks 1", "wayfare migrate"),
    ("ALTER TABLE staging.travel DROP COLUMN outcome", "lacks the required field 'outcome'", "change the contract"),
]


@pytest.mark.parametrize(("statement", "told", "fix"), SCHEMAS)
def test_a_schema_that_does_not_fit(settings: Settings, statement: str, told: str, fix: str) -> None:
    run(settings, statement)
    found = the_failure(settings)
    assert found.check == "database.schema"
    assert told in found.found
    assert fix in found.fix


def test_clocks_that_disagree(settings: Settings) -> None:
    run(settings, f"ALTER DATABASE {settings.url('owner').rpartition('/')[2]} SET search_path = public, pg_catalog")
    clock = "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz RETURN now()"
    for there in ("-", "+"):
        run(settings, f"{clock} {there} interval '1 minute'")
        found = the_failure(settings)
        assert found.check == "clock"
        assert "60 s apart" in found.found


def test_disks_that_are_nearly_full(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOW_DISK", 10**18)
    assert the_failure(settings).check == "database.disk"
    monkeypatch.setattr(machine, "LOW_DISK", 10**18)
    assert [f.check for f in failures(settings)] == ["database.disk", "storage", "folder.spill"]


def test_an_older_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "TESTED", 99)
    found = the_failure(settings)
    assert (found.check, found.fix) == ("database.version", "upgrade the server to PostgreSQL 99, or later")


GRANTED: list[tuple[str, str, str]] = [
    ("landing", "GRANT USAGE ON SCHEMA bi TO wayfare_landing; GRANT SELECT ON bi.own TO wayfare_landing", "bi.own"),
    ("landing", "GRANT DELETE ON staging.booking TO wayfare_landing", "DELETE staging.booking"),
    ("landing", "REVOKE INSERT ON staging.booking FROM wayfare_landing", "may not INSERT staging.booking"),
    ("landing", "GRANT UPDATE (raw) ON staging.rejection TO wayfare_landing", "may UPDATE staging.rejection"),
    ("landing", "REVOKE UPDATE (field) ON staging.rejection FROM wayfare_landing", "UPDATE staging.rejection (field)"),
    ("pipeline", "GRANT INSERT ON staging.view TO wayfare_pipeline", "INSERT staging.view"),
    ("pipeline", "GRANT TRUNCATE ON staging.view TO wayfare_pipeline", "TRUNCATE staging.view"),
    ("pipeline", "GRANT UPDATE (event_on) ON staging.view TO wayfare_pipeline", "UPDATE staging.view"),
    ("pipeline", "GRANT SELECT ON control.producer TO wayfare_pipeline", "SELECT control.producer"),
    ("pipeline", "CREATE TABLE marts.old (n int)", "cannot publish marts.old: it belongs to wayfare,"),
    ("bi", "GRANT USAGE ON SCHEMA staging TO wayfare_bi; GRANT SELECT ON staging.view TO wayfare_bi", "staging.view"),
    ("bi", "GRANT INSERT ON bi.own TO wayfare_bi", "INSERT bi.own"),
    ("bi", "GRANT CREATE ON SCHEMA public TO wayfare_bi", "may CREATE in schema public"),
    ("bi", "GRANT TEMPORARY ON DATABASE {} TO wayfare_bi", "may make temporary tables"),
    ("landing", "REVOKE TEMPORARY ON DATABASE {} FROM wayfare_landing", "may not make temporary tables"),
    ("bi", "ALTER ROLE doctor_wayfare_bi CREATEROLE", "doctor_wayfare_bi has CREATEROLE"),
    ("bi", "GRANT pg_read_server_files TO doctor_wayfare_bi", "doctor_wayfare_bi is a member of pg_read_server_files"),
]


@pytest.mark.parametrize(("role", "statement", "told"), GRANTED)
def test_a_role_that_may_more_or_less(settings: Settings, role: str, statement: str, told: str) -> None:
    run(settings, "CREATE VIEW bi.own AS SELECT 1 AS n; GRANT SELECT ON bi.own TO wayfare_bi")
    with login(settings, role=f"wayfare_{role}") as url:
        given = with_url(settings, role, url)
        assert failures(given) == []
        run(settings, statement.format(settings.url("owner").rpartition("/")[2]))
        found = the_failure(given)
    assert found.check == f"role.{role}"
    assert told in found.found


def test_marts_that_somebody_else_published_are_given_to_the_pipeline(settings: Settings) -> None:
    views = "CREATE VIEW bi.old AS TABLE marts.old; CREATE VIEW bi.old_history AS TABLE marts.old"
    run(settings, f"CREATE TABLE marts.old (n int); {views}; CREATE VIEW bi.own AS SELECT 1 AS n")
    run(settings, "GRANT SELECT ON ALL TABLES IN SCHEMA bi TO wayfare_bi")
    with login(settings, role="wayfare_pipeline") as url:
        given = with_url(settings, "pipeline", url)
        found = the_failure(given)
        assert found.fix.count("ALTER VIEW bi.old") == 2
        run(settings, found.fix)
        assert failures(given) == []


def test_what_a_role_may_beyond_tables(settings: Settings) -> None:
    """Attributes of what it is a member of are its own by SET ROLE."""
    with login(settings, role="wayfare_bi", options="REPLICATION"), login(settings, role="wayfare_landing") as url:
        given = with_url(settings, "landing", url)
        run(settings, "GRANT doctor_wayfare_bi TO doctor_wayfare_landing")
        inherited = the_failure(given)
        assert "doctor_wayfare_landing has REPLICATION" in inherited.found
        assert inherited.fix == "ALTER ROLE doctor_wayfare_bi NOREPLICATION"
        run(settings, inherited.fix)
        run(settings, f"GRANT CREATE ON DATABASE {settings.url('owner').rpartition('/')[2]} TO wayfare_landing")
        assert "doctor_wayfare_landing may CREATE schemas" in the_failure(given).found


def test_a_role_that_cannot_connect_or_may_anything(settings: Settings) -> None:
    with login(settings, role="wayfare_landing", options="SUPERUSER") as url:
        mistyped = the_failure(with_url(settings, "landing", url.replace("secret", "typo")))
        mighty = the_failure(with_url(settings, "landing", url))
    assert mistyped.check == mighty.check == "role.landing"
    assert "password authentication failed" in mistyped.found
    assert "WAYFARE_LANDING_URL" in mistyped.fix
    assert "superuser" in mighty.found


def _blocked(folder: Path) -> Path:
    """A folder that cannot be: its parent is a file."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.with_suffix(".txt").write_text("a file")
    return folder.with_suffix(".txt") / "folder"


BROKEN: list[tuple[Callable[[Path], dict[str, Any]], str, str]] = [
    (lambda home: {"storage_url": str(_blocked(home / "a"))}, "storage", "WAYFARE_STORAGE_URL"),
    (lambda _: {"storage_url": "nosuch://bucket/x"}, "storage", "WAYFARE_STORAGE_URL"),
    (lambda home: {"duckdb_spill": _blocked(home / "b")}, "folder.spill", "WAYFARE_DUCKDB_SPILL"),
    (lambda _: {"duckdb_memory_limit": "900TB"}, "engine", "WAYFARE_DUCKDB_MEMORY_LIMIT to"),
    (lambda _: {"duckdb_memory_limit": "plenty"}, "engine", "WAYFARE_DUCKDB_MEMORY_LIMIT like"),
]


@pytest.mark.parametrize(("change", "check", "fix"), BROKEN)
def test_a_machine_that_does_not_fit(
    settings: Settings, change: Callable[[Path], dict[str, Any]], check: str, fix: str
) -> None:
    found = the_failure(settings.model_copy(update=change(settings.home)))
    assert found.check == check
    assert fix in found.fix


class Forgetful(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A storage that takes every file and gives back another."""

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        pass

    def cat_file(self, path: str, **_: Any) -> bytes:
        return path.encode()

    def rm_file(self, path: str) -> None:
        pass


def test_a_storage_that_gives_back_other_bytes(tmp_path: Path) -> None:
    fsspec.register_implementation("forgetful", Forgetful, clobber=True)
    found = {f.check: f.found for f in failures(Settings(home=tmp_path, storage_url="forgetful://bucket"))}
    assert found["storage"] == "forgetful://bucket gives back other bytes than were written"


@pytest.mark.parametrize(("version", "status"), [("3.10.9", "failed"), ("3.11.0", "ok"), ("3.14.0", "failed")])
def test_versions_of_python(version: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: version)
    assert machine._python().status == status


def test_an_examination_that_breaks_off_is_a_finding_and_keeps_back_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (limit := tmp_path / "memory.max").write_text("plenty\n")
    monkeypatch.setattr(machine, "_CONTAINER_LIMIT", limit)
    found = {f.check: f for f in doctor.examine(Settings(home=tmp_path / "home"))}
    assert found["machine"].status == "failed"
    assert found["machine"].found.startswith("the check failed: ValueError: ")
    assert "airflow" in found


def test_a_container_may_have_less_memory(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CONTAINER_LIMIT", limit)
    limit.write_text("max\n")
    assert failures(settings) == []
    limit.write_text("1500000000\n")
    assert the_failure(settings).found == "DuckDB may take 1.0 GB of this machine's 1.5 GB"


def test_packages_that_are_not_as_locked(settings: Settings, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("typer==0.0.1 \\\n    --hash=x\nno-such-thing==2.0\ncolorama==9 ; sys_platform == 'win32'\n")
    found = the_failure(settings)
    assert found.check == "versions.packages"
    assert found.found == f"typer {machine._installed('typer')} (locked: 0.0.1), no-such-thing missing (locked: 2.0)"
    lock.unlink()
    assert "is missing" in the_failure(settings).found


def test_quarantined_events_are_counted(settings: Settings) -> None:
    run(
        settings,
        "INSERT INTO control.quarantine (analysis, event_type, event_on, event_id, rule, through_batch)"
        " SELECT 'demand', 'search', '2026-01-01', gen_random_uuid(), 'r', 1 FROM generate_series(1, 3)",
    )
    told = {f.check: f.found for f in doctor.examine(settings)}
    assert told["quarantine"] == "demand 3 (see control.quarantine)"
