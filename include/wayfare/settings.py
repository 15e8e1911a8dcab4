"""Settings, read from the environment (`WAYFARE_*`), from `.env` and from HOME/secrets.env, nowhere else.

Belongs here: every value an installation may choose. Does not: anything derived from data.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from dotenv import dotenv_values
from iso4217 import Currency
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wayfare.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parents[2]
Role = Literal["owner", "landing", "pipeline"]


def _env_files() -> tuple[Path, Path]:
    """Files of settings, the later ones winning: the environment and `.env` say where HOME is."""
    chosen = _legible(PROJECT / ".env")
    home = os.environ.get("WAYFARE_HOME") or dotenv_values(chosen).get("WAYFARE_HOME") or ".wayfare"
    return _legible(secrets_file(_absolute(Path(home)))), chosen


def secrets_file(home: Path) -> Path:
    """What `wayfare up` keeps of its own making: passwords, keys and the URLs of its database."""
    return home / "secrets.env"


def _legible(file: Path) -> Path:
    """The file, if it is there and holds text, or if it is not there.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    try:
        if file.is_file():
            file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}; fix it, or restore it from a backup") from None
    return file


def _absolute(path: Path) -> Path:
    """The same folder wherever a process works: a relative path is below the project's."""
    return PROJECT / path.expanduser()


class Settings(BaseSettings):
    """One installation's choices; `docs/settings.md` is generated from the descriptions below."""

    model_config = SettingsConfigDict(
        env_prefix="WAYFARE_", env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    home: Path = Field(PROJECT / ".wayfare", description="Folder for everything Wayfare writes on this machine.")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL URL of the owner role; `wayfare up` writes the embedded server's to HOME/secrets.env.",
    )
    landing_url: SecretStr | None = Field(None, description="URL of the landing role; empty: the owner's URL.")
    pipeline_url: SecretStr | None = Field(None, description="URL of the pipeline role; empty: the owner's URL.")
    bi_url: SecretStr | None = Field(None, description="URL of the role BI tools read with; `wayfare doctor` tries it.")
    storage_url: str = Field(
        "",
        description="Where day files, hand-overs and Data Docs live: a path or fsspec URL, with neither a slash at its "
        "end nor a password; empty: HOME/storage.",
    )
    timezone: str = Field(
        "UTC",
        description="IANA time zone in which booking and search days begin. The first migration fixes it for good: "
        "choose it before the first start.",
    )
    currency: str = Field(
        "EUR",
        description="Reporting currency, ISO 4217; others are converted where the European Central Bank has rates.",
    )
    customer_key: SecretStr | None = Field(
        None,
        description="Key that pseudonymizes customer_id at landing (HMAC-SHA256) and seals refused lines (AES-GCM); "
        "empty: ids and lines are kept as they came.",
    )
    landing_rows: int = Field(200_000, ge=1, description="Lines per landed batch (one transaction each).")
    queue_url: SecretStr | None = Field(
        None, description="URL of the message broker (amqp://, redis://); empty: `wayfare collect` stages by itself."
    )
    queue_name: str = Field("wayfare.events", min_length=1, description="The queue of events on the broker.")
    chunk_rows: int = Field(5_000_000, ge=1, description="Input rows that one chunk of output days may read.")
    quarantine_share: float = Field(
        0.05, ge=0, le=1, description="Share of input rows that validation may set aside before it refuses the chunk."
    )
    engine: Literal["duckdb", "spark"] = Field(
        "duckdb",
        description="What computes the analyses: duckdb, or spark. The gates and publishing always use DuckDB.",
    )
    spark_remote: SecretStr | None = Field(
        None, description="Spark Connect server, sc://host:15002, with `/;token=...` after it where it wants a token."
    )
    duckdb_memory_limit: str = Field("1GB", description="DuckDB's memory limit; past it, it spills to disk.")
    duckdb_threads: int = Field(2, ge=1, description="DuckDB's threads per task.")
    duckdb_spill: Path | None = Field(None, description="DuckDB's spill folder; empty: HOME/spill.")
    service_level: float = Field(
        0.98, gt=0.5, lt=1, description="Probability of no shortage that an order quantity must reach."
    )
    debounce_seconds: float = Field(20.0, ge=0, description="Quiet time after a batch before analyses are triggered.")
    port: int = Field(8080, ge=1, le=65535, description="Port of the Airflow UI on 127.0.0.1.")
    database_port: int = Field(5433, ge=1, le=65535, description="Port of the embedded PostgreSQL on 127.0.0.1.")

    @field_validator("home", "duckdb_spill")
    @classmethod
    def _anywhere_the_same(cls, value: Path | None) -> Path | None:
        return value and _absolute(value)

    @field_validator("storage_url")
    @classmethod
    def _storage_anywhere_the_same(cls, value: str) -> str:
        if value and "://" not in value:
            return str(_absolute(Path(value)))
        if re.search("://[^/]*:[^/]*@", value):  # messages show it, and every task has it
            raise ValueError(
                "there is a password in this URL; give it to the storage's own settings, such as AWS_* for s3:// or "
                "FSSPEC_SFTP_PASSWORD for sftp://, in the environment of every process"
            )
        if value.endswith("/"):  # docker-compose.yaml gives Airflow `URL/xcom`; to an object store, // is a folder
            raise ValueError(f"{value!r} ends in a slash; write it without")
        return value

    @field_validator("database_url", "landing_url", "pipeline_url", "bi_url")
    @classmethod
    def _of_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_postgresql(value.get_secret_value()):
            raise ValueError(
                "not a PostgreSQL URL; write postgresql://user:password@host:5432/wayfare and percent-encode special "
                "characters in the password (%23 for #, %2F for /)"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones() - {"localtime"}:  # which is a file of this machine's
            raise ValueError(f"{value!r} is not an IANA time zone; write one like Europe/Lisbon")
        return value

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        if value not in {c.code for c in Currency if c.exponent is not None}:
            raise ValueError(f"{value!r} is not a currency of ISO 4217; write one like EUR")
        return value

    @field_validator("duckdb_memory_limit")
    @classmethod
    def _known_size(cls, value: str) -> str:
        if not re.fullmatch(r"(?i)\d+(\.\d+)? ?([KMGT](i?B)?|%)", value):
            raise ValueError(f"{value!r} is not a size; write one like 2GB, or a share of the memory like 40%")
        return value

    def url(self, role: Role) -> str:
        """PostgreSQL URL (`postgresql://...`) for a role; a role without one of its own works as the owner.

        Raises
        ------
        ConfigurationError
            No database is configured.
        """
        own = {"owner": None, "landing": self.landing_url, "pipeline": self.pipeline_url}[role]
        secret = own or self.database_url
        if secret is None:
            raise ConfigurationError("no database: run `wayfare up`, or set WAYFARE_DATABASE_URL")
        return secret.get_secret_value()

    @property
    def zone(self) -> ZoneInfo:
        """The agency's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def storage(self) -> str:
        """Path or URL of the storage, without a trailing slash."""
        return self.storage_url or str(self.home / "storage")

    @property
    def spill_dir(self) -> Path:
        """DuckDB's spill folder."""
        return self.duckdb_spill or self.home / "spill"


def _is_postgresql(url: str) -> bool:
    try:
        port = urlsplit(url).port
    except ValueError:  # it is not one, or an odd character in the password broke it
        return False
    return port != 0 and url.startswith(("postgresql://", "postgres://"))


@functools.cache
def get_settings() -> Settings:
    """This process's settings.

    Raises
    ------
    ConfigurationError
        A value is malformed, and the message names the variable; or a file of settings cannot be read.
    """
    try:
        return Settings(_env_file=_env_files())  # type: ignore[call-arg]  # a pydantic-settings argument
    except ValidationError as error:
        lines = (f"WAYFARE_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError("settings: " + "; ".join(lines)) from None
