"""Settings refuse nonsense by the name of the variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wayfare import duck
from wayfare.errors import ConfigurationError
from wayfare.settings import Settings, get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WAYFARE_HOME", str(tmp_path))
    monkeypatch.delenv("WAYFARE_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAYFARE_TIMEZONE", "Europe/Lissabon"),
        ("WAYFARE_TIMEZONE", "localtime"),
        ("WAYFARE_CURRENCY", "eur"),
        ("WAYFARE_CURRENCY", "ZZZ"),
        ("WAYFARE_CURRENCY", "XXX"),
        ("WAYFARE_PORT", "0"),
        ("WAYFARE_QUARANTINE_SHARE", "7"),
        ("WAYFARE_DUCKDB_MEMORY_LIMIT", "plenty"),
        ("WAYFARE_DUCKDB_MEMORY_LIMIT", "2000"),
        ("WAYFARE_DATABASE_URL", "wayfare"),
        ("WAYFARE_LANDING_URL", "mysql://u:typo@db/wayfare"),
        ("WAYFARE_PIPELINE_URL", "postgresql+psycopg2://u:typo@db/wayfare"),
        ("WAYFARE_BI_URL", "postgresql://u:typo#2@db/wayfare"),
        ("WAYFARE_STORAGE_URL", "s3://wayfare/"),
        ("WAYFARE_STORAGE_URL", "sftp://u:typo@host/wayfare/"),
    ],
)
def test_a_bad_value_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"{variable}: ") as told:
        get_settings()
    assert "typo" not in str(told.value), "a URL holds a password"


@pytest.mark.parametrize("limit", ["1GB", "1.5 gib", "80%", "512M"])
def test_duckdb_takes_what_settings_take(limit: str) -> None:
    duck.connect(memory_limit=Settings(duckdb_memory_limit=limit).duckdb_memory_limit).close()


def test_a_relative_path_is_below_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayfare.settings.PROJECT", tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project" / "home").mkdir(parents=True)
    (tmp_path / "project" / "home" / "secrets.env").write_text("WAYFARE_DATABASE_URL=postgresql://here/wayfare\n")
    monkeypatch.setenv("WAYFARE_HOME", "home")
    monkeypatch.setenv("WAYFARE_STORAGE_URL", "files")
    monkeypatch.setenv("WAYFARE_DUCKDB_SPILL", "~/spill")
    settings = get_settings()
    assert settings.url("owner") == "postgresql://here/wayfare"
    assert (settings.home, settings.storage) == (tmp_path / "project" / "home", str(tmp_path / "project" / "files"))
    assert settings.spill_dir == tmp_path / "spill"


@pytest.mark.parametrize("name", [".env", "home/secrets.env"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayfare.settings.PROJECT", tmp_path)
    monkeypatch.setenv("WAYFARE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / name).write_bytes(b"WAYFARE_PORT=8081\n\xb5")
    with pytest.raises(ConfigurationError, match=rf"^{tmp_path / name} cannot be read"):
        get_settings()


def test_without_a_database_it_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="wayfare up"):
        get_settings().url("pipeline")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYFARE_CUSTOMER_KEY", "")
    assert get_settings().customer_key is None


def test_a_home_in_the_env_file_is_where_secrets_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYFARE_HOME")
    monkeypatch.setattr("wayfare.settings.PROJECT", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".env").write_text(f"WAYFARE_HOME={tmp_path / 'elsewhere'}\n")
    (tmp_path / "elsewhere" / "secrets.env").write_text("WAYFARE_DATABASE_URL=postgresql://here/wayfare\n")
    assert get_settings().home == tmp_path / "elsewhere"
    assert get_settings().url("owner") == "postgresql://here/wayfare"
