"""Frames of Spark, over Spark Connect: the server reads the day files and writes what DuckDB then finishes.

The server must reach the storage under the same path, or on the same object store. The client is imported here, late:
nobody else needs it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import narwhals as nw
import pyarrow as pa

from wayfare import snapshots, storage
from wayfare.errors import ConfigurationError, DataError, DeclarationError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import duckdb
    from pyspark.sql import DataFrame, SparkSession

    from wayfare.contracts import EventType
    from wayfare.settings import Settings

PORT = 15002
"""Where a Spark Connect server listens unless told otherwise."""
CONNECT_SECONDS = 10.0
"""Seconds in which a server must take a connection; the client itself would try for ten minutes."""
_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # what does not fit is an error, as in DuckDB
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_KINDS = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.uuid(): "binary",
}


@contextlib.contextmanager
def spark_session(settings: Settings) -> Iterator[SparkSession]:
    """A session of the settings' Spark Connect server, in UTC.

    Raises
    ------
    ConfigurationError
        No server is configured, or its address cannot be read.
    ServiceError
        It does not answer, or breaks off.
    DeclarationError
        The analysis asks for what is not there.
    DataError
        A value does not fit where the analysis puts it, or cannot be computed with.
    """
    remote = settings.spark_remote and settings.spark_remote.get_secret_value()
    if not remote:
        raise ConfigurationError("WAYFARE_ENGINE is spark: set WAYFARE_SPARK_REMOTE, like sc://host:15002")
    place = urlsplit(remote)
    where = f"the Spark Connect server {place.hostname}:{place.port or PORT}"
    try:
        socket.create_connection((place.hostname or "", place.port or PORT), CONNECT_SECONDS).close()
    except OSError as error:
        raise ServiceError(f"{where} does not answer: {error}; start it, or correct WAYFARE_SPARK_REMOTE") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        from pyspark.errors import PySparkValueError
        from pyspark.errors.exceptions import connect
        from pyspark.sql.connect.session import SparkSession as Connected
    try:
        try:
            session: Any = Connected.builder.remote(remote).create()
        except PySparkValueError:  # which quotes what it cannot read, and that is a token
            raise ConfigurationError(
                "WAYFARE_SPARK_REMOTE is not the address of a Spark Connect server: write one like "
                "sc://host:15002/;token=..., and percent-encode special characters in its token (%3D for =, %2F for /)"
            ) from None
        try:
            for name, value in _SESSION.items():
                session.conf.set(name, value)
            yield session
        finally:
            session.stop()
    except connect.AnalysisException as error:
        raise DeclarationError(f"Spark: the analysis asks for what is not there: {error}") from error
    except (connect.ArithmeticException, connect.NumberFormatException, connect.DateTimeException) as error:
        raise DataError(f"Spark: a value does not fit: {error}") from error
    except connect.SparkRuntimeException as error:
        raise DataError(f"Spark: the analysis cannot be computed: {error}") from error
    except connect.SparkConnectGrpcException as error:
        raise ServiceError(f"{where} broke off: {error}") from error


class SparkFrames:
    """What `wayfare.engines.frames.Frames` asks for, as data frames of `session`.

    `folder` is a folder of the storage that does not exist yet: what DuckDB and Spark hand each other is written there.
    """

    def __init__(self, session: SparkSession, connection: duckdb.DuckDBPyConnection, folder: str) -> None:
        self._session = session
        self._connection = connection
        self._folder = folder

    def of_table(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """The rows of an Arrow table."""
        return nw.from_native(self._session.createDataFrame(table))

    def of_relation(self, relation: duckdb.DuckDBPyRelation) -> nw.LazyFrame[Any]:
        """The rows of a DuckDB relation, through a file: a table sent along is planned row by row."""
        url = f"{self._folder}/{secrets.token_hex(6)}.parquet"
        storage.write_atomic(url, relation.write_parquet)
        return nw.from_native(self._session.read.parquet(spark_url(url)))

    def of_events(self, event_type: EventType, files: list[str], quarantine: str | None) -> nw.LazyFrame[Any]:
        """The events of one type with today's columns, whatever contract revision each file was written under.

        Spark knows no UUID: they are texts in DuckDB's notation, which sort alike.
        """
        schema = snapshots.schema(event_type)
        events = self._read(files, ", ".join(f"`{f.name}` {_KINDS[f.type]}" for f in schema))
        events = events.where(snapshots.real(event_type))
        if quarantine is not None:
            left_out = self._read([quarantine], "event_type string, event_id binary")
            left_out = left_out.where(f"event_type = '{event_type.name}'").select("event_id")
            events = events.join(left_out, "event_id", "left_anti")
        columns = [_as_text(f.name) if f.type == pa.uuid() else f"`{f.name}`" for f in schema]
        frame: nw.LazyFrame[Any] = nw.from_native(events.selectExpr(*columns))
        return frame

    def kept(self, frames: Iterable[nw.LazyFrame[Any]], name: str) -> nw.LazyFrame[Any]:
        """The frames' rows as files, from which what follows is planned anew: gRPC takes no plan that only grows."""
        url = spark_url(f"{self._folder}/{name}")
        for frame in frames:
            native = nw.to_native(frame)
            native.write.mode("append").parquet(url)
        return nw.from_native(self._session.read.schema(native.schema).parquet(url))

    def forget(self, names: Collection[str]) -> None:
        """Remove the files."""
        for name in names:
            storage.remove(f"{self._folder}/{name}")

    def to_relation(self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> duckdb.DuckDBPyRelation:
        """The frame as a relation over the parts that Spark writes; one that left Spark comes through Arrow."""
        native = nw.to_native(frame)
        if not hasattr(native, "sparkSession"):
            return self._connection.from_arrow(nw.from_native(native, eager_only=True).to_arrow())
        url = f"{self._folder}/{secrets.token_hex(6)}"
        native.write.parquet(spark_url(url))
        return self._connection.read_parquet([part for part in storage.children(url) if part.endswith(".parquet")])

    def _read(self, files: list[str], columns: str) -> DataFrame:
        if not files:
            return self._session.createDataFrame([], columns)
        return self._session.read.schema(columns).parquet(*map(spark_url, files))


def _as_text(column: str) -> str:
    """SQL for 16 bytes as a UUID is written."""
    digits = f"lower(hex(`{column}`))"
    groups = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    parts = ", '-', ".join(f"substr({digits}, {start}, {length})" for start, length in groups)
    return f"concat({parts}) AS `{column}`"


def spark_url(url: str) -> str:
    """The path or URL as Spark's file systems spell it.

    >>> spark_url("s3://wayfare/snapshots"), spark_url("/var/lib/wayfare")
    ('s3a://wayfare/snapshots', 'file:///var/lib/wayfare')
    """
    if storage.is_local(url):
        return f"file://{Path(storage.filesystem(url)[1]).absolute()}"
    return f"s3a{url.removeprefix('s3')}" if url.startswith("s3://") else url
