"""What Airflow is given before it starts: where its metadata is, and the UI's login."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from wayfare.errors import ConfigurationError
from wayfare.local import accounts, airflow, production
from wayfare.local.home import passwords_file
from wayfare.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("given", [{}, {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////tmp/airflow.db"}])
def test_migrating_needs_to_know_where_the_metadata_is(given: dict[str, str], tmp_path: Path) -> None:
    passwords = {f"{role.upper()}_PASSWORD": "x" for role in accounts.ROLES}
    with pytest.raises(ConfigurationError, match=r"set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN to postgresql.*SQLite"):
        production.prepare(Settings(home=tmp_path), passwords | given)


def test_the_login_is_for_its_owner_alone(tmp_path: Path) -> None:
    airflow.write_login(tmp_path, "secret-of-this-test")
    file = passwords_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {"admin": "secret-of-this-test"}
