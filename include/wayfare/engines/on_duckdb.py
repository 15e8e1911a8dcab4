"""Frames of DuckDB: relations of one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw

from wayfare import duck, snapshots

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pyarrow as pa

    from wayfare.contracts import EventType


class DuckFrames:
    """What `wayfare.engines.frames.Frames` asks for, as relations of `connection`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def of_table(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """The rows of an Arrow table."""
        return nw.from_native(self._connection.from_arrow(table))

    def of_relation(self, relation: duckdb.DuckDBPyRelation) -> nw.LazyFrame[Any]:
        """The relation itself."""
        return nw.from_native(relation)

    def of_events(self, event_type: EventType, files: list[str], quarantine: str | None) -> nw.LazyFrame[Any]:
        """The events of one type with today's columns, whatever contract revision each file was written under."""
        empty = self._connection.from_arrow(snapshots.schema(event_type).empty_table())
        # as a query of its own: read by a step, every step that follows would look into all the files again
        united = f"FROM read_parquet({duck.literals(files)}, union_by_name = true)"
        source = self._connection.sql(united) if files else empty
        present = set(source.columns)
        typed = (
            f'CAST("{name}" AS {kind}) AS "{name}"' if name in present else f'CAST(NULL AS {kind}) AS "{name}"'
            for name, kind in zip(empty.columns, empty.types, strict=True)
        )
        events = source.project(", ".join(typed)).filter(snapshots.real(event_type))
        if quarantine is not None:
            is_of_type = duckdb.ColumnExpression("event_type") == duckdb.ConstantExpression(event_type.name)
            left_out = self._connection.read_parquet(quarantine).filter(is_of_type).project("event_id")
            events = events.set_alias("events").join(left_out.set_alias("left_out"), "event_id", how="anti")
        return nw.from_native(events)

    def kept(self, frames: Iterable[nw.LazyFrame[Any]], name: str) -> nw.LazyFrame[Any]:
        """The frames' rows as a table in a file of the session's spill folder.

        What a table in memory spills leaves a quarter of a byte behind for every value, for as long as it is there.
        """
        ((folder,),) = self._connection.sql("SELECT current_setting('temp_directory')").fetchall()
        self._connection.execute(f"ATTACH IF NOT EXISTS {duck.literal(f'{folder}/kept.duckdb')} AS kept")
        for number, frame in enumerate(frames):
            rows = nw.to_native(frame)
            write = rows.insert_into if number else rows.create
            write(f"kept.main.{name}")
        return nw.from_native(self._connection.table(f"kept.main.{name}"))

    def forget(self, names: Collection[str]) -> None:
        """Drop the tables, and give their room back: until a checkpoint the file keeps it, and only grows."""
        for name in names:
            self._connection.execute(f"DROP TABLE kept.main.{name}")
        if names:
            self._connection.execute("CHECKPOINT kept")

    def to_relation(self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> duckdb.DuckDBPyRelation:
        """The frame as a relation; one that left DuckDB (for pandas, say) comes back through Arrow."""
        native = nw.to_native(frame)
        if isinstance(native, duckdb.DuckDBPyRelation):
            return native
        return self._connection.from_arrow(nw.from_native(native, eager_only=True).to_arrow())
