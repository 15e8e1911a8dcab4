"""Great Expectations, imported once and quietly: no telemetry, no progress bars, no Spark, no files of its own."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


@functools.cache
def great_expectations() -> Any:
    """The great_expectations module; importing it takes seconds, so only a gate that runs calls this.

    An installed pyspark is hidden while it is imported: Great Expectations would load all of it, and no gate uses it.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # it logs every function it registers, and warns on each query that it does not know our dialect
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    hidden = "pyspark" not in sys.modules
    if hidden:
        sys.modules["pyspark"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        module = importlib.import_module("great_expectations")
    finally:
        if hidden:
            del sys.modules["pyspark"]
    logging.captureWarnings(False)  # importing it turns this on for the whole process
    return module


@contextlib.contextmanager
def datasource(connection: duckdb.DuckDBPyConnection) -> Iterator[Any]:
    """A Great Expectations SQL data source over the tables and views of `connection`.

    It reads views as they are (`create_temp_table=False`): DuckDB then decodes only the columns that a rule names, and
    all row counts of one suite come from one query. As temporary tables the same checks copy every column first.
    """
    from wayfare.quality.dialect import URL, GateConnection

    gx = great_expectations()
    base = importlib.import_module("great_expectations.data_context.types.base")
    quiet = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    source = context.data_sources.add_sql(
        "duckdb",
        connection_string=URL,
        create_temp_table=False,
        kwargs={"creator": lambda: GateConnection(connection.cursor())},
    )
    try:
        yield source
    finally:  # each holds a connection, and with it the whole database, until Python collects its cycles
        source.get_engine().dispose()
        source.get_execution_engine().close()
