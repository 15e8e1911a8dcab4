"""Settings, read from the environment (`WAYFARE_*`), from `.env` and from HOME/secrets.env, nowhere else.

Belongs here: every value an installation may choose. Does not: anything derived from data.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wayfare.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parents[2]
Role = Literal["owner", "landing", "pipeline"]


def _env_files() -> tuple[Path, Path]:
    """Files of settings, the later ones winning: the environment and `.env` say where HOME is."""
    chosen = PROJECT / ".env"
    home = os.environ.get("WAYFARE_HOME") or dotenv_values(chosen).get("WAYFARE_HOME") or PROJECT / ".wayfare"
    return Path(home) / "secrets.env", chosen


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
        "", description="Where day files, hand-overs and Data Docs live: a path or fsspec URL; empty: HOME/storage."
    )
    timezone: str = Field("UTC", description="IANA time zone in which booking and search days begin.")
    currency: str = Field("EUR", min_length=3, max_length=3, description="Reporting currency, ISO 4217.")
    customer_key: SecretStr | None = Field(
        None,
        description="Key that pseudonymizes customer_id at landing (HMAC-SHA256) and seals refused lines (AES-GCM); "
        "empty: kept as they came.",
    )
    landing_rows: int = Field(200_000, ge=1, description="Lines per landed batch (one transaction each).")
    queue_url: SecretStr | None = Field(
        None, description="URL of the message broker (amqp://, redis://); empty: `wayfare collect` stages by itself."
    )
    queue_name: str = Field("wayfare.events", min_length=1, description="The queue of events on the broker.")
    chunk_rows: int = Field(5_000_000, ge=1, description="Input rows that one chunk of output days may read.")
    quarantine_share: float = Field(
        0.05, ge=0, le=1, description="Share of input rows that validation may set aside before it refuses."
    )
    engine: Literal["duckdb", "spark"] = Field(
        "duckdb", description="What computes the analyses: duckdb, or spark. The gates and publishing are DuckDB's."
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

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone; write one like Europe/Lisbon")
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
        return (self.storage_url or str(self.home / "storage")).rstrip("/")

    @property
    def spill_dir(self) -> Path:
        """DuckDB's spill folder."""
        return self.duckdb_spill or self.home / "spill"


@functools.cache
def get_settings() -> Settings:
    """This process's settings.

    Raises
    ------
    ConfigurationError
        A value is malformed; the message names the variable.
    """
    try:
        return Settings(_env_file=_env_files())  # type: ignore[call-arg]  # a pydantic-settings argument
    except ValidationError as error:
        lines = (f"WAYFARE_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError("settings: " + "; ".join(lines)) from None
