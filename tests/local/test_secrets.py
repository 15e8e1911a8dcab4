"""Secrets are made once and readable by their owner alone."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from wayfare.errors import ConfigurationError
from wayfare.local.secrets import Secrets, load_or_make, remember_urls
from wayfare.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_made_once_and_kept_private(tmp_path: Path) -> None:
    made = load_or_make(tmp_path / "home")
    assert load_or_make(tmp_path / "home") == made
    assert len({getattr(made, name) for name in Secrets.__dataclass_fields__}) == len(Secrets.__dataclass_fields__)
    file = tmp_path / "home" / "secrets.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (before := tmp_path / "before.env").hardlink_to(file)
    remember_urls(tmp_path / "home", {"WAYFARE_DATABASE_URL": "postgresql://wayfare:x@127.0.0.1:1/wayfare"})
    assert "WAYFARE_DATABASE_URL" in file.read_text()
    assert "WAYFARE_DATABASE_URL" not in before.read_text(), "a file that was whole is left so: another takes its place"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_or_make(tmp_path / "home") == made


@pytest.mark.parametrize("left", [0, 40])
def test_a_file_that_was_cut_short_is_named(left: int, tmp_path: Path) -> None:
    load_or_make(tmp_path)
    file = tmp_path / "secrets.env"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ConfigurationError, match=rf"{file} is damaged, it lacks .*fernet"):
        load_or_make(tmp_path)


def test_settings_read_the_urls_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYFARE_HOME", str(tmp_path))
    monkeypatch.delenv("WAYFARE_DATABASE_URL", raising=False)
    load_or_make(tmp_path)
    remember_urls(tmp_path, {"WAYFARE_DATABASE_URL": "postgresql://owner", "WAYFARE_LANDING_URL": "postgresql://land"})
    get_settings.cache_clear()
    try:
        settings = get_settings()
        assert settings.url("owner") == settings.url("pipeline") == "postgresql://owner"
        assert settings.url("landing") == "postgresql://land"
        assert "postgresql" not in repr(settings), "a URL holds a password"
    finally:
        get_settings.cache_clear()
