"""Secrets of a local installation: made once, kept in HOME/secrets.env, readable by its owner alone."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from wayfare.errors import ConfigurationError
from wayfare.settings import secrets_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys; PostgreSQL roles first, Airflow's after."""

    owner: str
    landing: str
    pipeline: str
    bi: str
    airflow: str
    admin: str
    jwt: str
    fernet: str
    session: str


def load_or_make(home: Path) -> Secrets:
    """The same as `load`; secrets are made where there are none."""
    file = secrets_file(home)
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = {name: secrets.token_urlsafe(24) for name in Secrets.__dataclass_fields__}
        made["fernet"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write(file, {f"WAYFARE_SECRET_{name.upper()}": value for name, value in made.items()})
    return load(home)


def load(home: Path) -> Secrets:
    """The secrets of the installation in `home`.

    Raises
    ------
    ConfigurationError
        The file does not hold all of them.
    """
    file = secrets_file(home)
    stored = dotenv_values(file)
    known = {name: stored.get(f"WAYFARE_SECRET_{name.upper()}") or "" for name in Secrets.__dataclass_fields__}
    if missing := [name for name, value in known.items() if not value]:
        raise ConfigurationError(
            f"{file} is damaged, it lacks the secrets {', '.join(missing)}: restore it from a backup; without one "
            f"nobody can log in to the database in {home}: start over with another WAYFARE_HOME"
        )
    return Secrets(**known)


def remember_urls(home: Path, urls: dict[str, str]) -> None:
    """Keep the URLs of the embedded server beside the secrets, where `Settings` reads them."""
    file = secrets_file(home)
    kept = {k: v or "" for k, v in dotenv_values(file).items()}
    _write(file, {**kept, **urls})


def _write(file: Path, values: dict[str, str]) -> None:
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in values.items())
        out.flush()
        os.fsync(descriptor)  # otherwise a machine that loses power may keep the name and not the content
    temporary.replace(file)
