"""Settings refuse nonsense by the name of the variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wayfare.errors import ConfigurationError
from wayfare.settings import get_settings

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
    [("WAYFARE_TIMEZONE", "Europe/Lissabon"), ("WAYFARE_PORT", "0"), ("WAYFARE_QUARANTINE_SHARE", "7")],
)
def test_a_bad_value_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
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
