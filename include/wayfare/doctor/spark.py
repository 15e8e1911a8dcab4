"""Spark, where it is the engine: a server that answers, of the client's version, which reads and writes the storage."""

from __future__ import annotations

import secrets
from importlib import metadata
from typing import TYPE_CHECKING

from wayfare import storage
from wayfare.doctor.findings import Finding, failed, ok
from wayfare.errors import WayfareError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """Findings about the Spark Connect server; none where DuckDB is the engine."""
    if settings.engine != "spark":
        return
    from wayfare.engines.on_spark import spark_session

    try:
        with spark_session(settings) as spark:
            version = str(spark.version)
    except WayfareError as error:
        yield failed("spark", str(error), "start a Spark Connect server, or set WAYFARE_ENGINE=duckdb")
        return
    yield _version(version)
    yield _storage(settings)


def _storage(settings: Settings) -> Finding:
    """Let the server write a few rows to the storage, and look for them from here."""
    from wayfare.engines.on_spark import spark_session, spark_url

    folder = f"{settings.storage}/doctor-{secrets.token_hex(6)}.tmp"
    fix = "give the server's account the right to write to the same path (a shared volume) or object store"
    try:
        with spark_session(settings) as spark:
            spark.range(3).write.parquet(spark_url(folder))
        is_there = storage.exists(folder)
    except WayfareError as error:
        return failed("spark.storage", f"Spark does not write to {settings.storage}: {error}".splitlines()[0], fix)
    finally:
        storage.remove(folder)
    if is_there:
        return ok("spark.storage", f"Spark writes to {settings.storage}")
    return failed("spark.storage", f"what Spark writes to {settings.storage} is not there", fix)


def _version(server: str) -> Finding:
    client = metadata.version("pyspark-client")
    if server.split(".")[:2] == client.split(".")[:2]:
        return ok("spark.version", f"Spark {server}")
    return failed("spark.version", f"the server is Spark {server}, the client {client}", f"run a server of {client}")
