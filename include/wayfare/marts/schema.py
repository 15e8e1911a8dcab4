"""The tables and views of a mart: `marts.<analysis>` and `bi.<analysis>`, with `_v2` from the second version on.

A vintage has a second table, `marts.<analysis>_superseded`, and a second view, `bi.<analysis>_history`.

Everything here does nothing where nothing differs: readers of a view are never locked out by a publication that leaves
the view as it is. What stands and differs is changed before rows are written, each table and view in a transaction of
its own: whoever reads several locks them in an order of their own, and would wait for us while we wait for them. A mart
that is new is seen with its first rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg2 import errors

from wayfare.analyses.api import Additivity, Column, Every
from wayfare.duck import literal
from wayfare.errors import ConfigurationError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wayfare.analyses.api import BehaviorAnalysis, Mart

READER = "wayfare_bi"

_PUBLISHED_IN = Column("The publication that brought the row", "bigint", Additivity.KEY, nullable=False)
_SUPERSEDED_IN = Column("The publication that closed the row", "bigint", Additivity.KEY, nullable=False)


def quoted(names: Iterable[str]) -> str:
    """Identifiers as a list in SQL.

    >>> quoted(["search_on", "city"])
    '"search_on", "city"'
    """
    return ", ".join(f'"{name}"' for name in names)


def create_table(cursor: Any, analysis: BehaviorAnalysis) -> None:
    """Create the mart's table, a vintage's two, or let them follow what was added to the declaration.

    What is added to a table that stands, is committed; rows that stand have no value there.

    Raises
    ------
    DeclarationError
        The mart lost or retyped a column, its grain grew, its output day is another, it became a vintage or ceased to
        be one, or its days became weeks or months, without becoming a new version.
    ConfigurationError
        There is a table of that name which Wayfare did not make.
    """
    mart, name = analysis.mart, analysis.relation
    tables = {name: mart.all_columns | ({"published_in": _PUBLISHED_IN} if mart.vintage else {})}
    if mart.vintage:
        closed = {"published_in": _PUBLISHED_IN, "superseded_in": _SUPERSEDED_IN}
        tables[superseded(name)] = mart.all_columns | closed
    for table, wanted in tables.items():
        existing = _existing(cursor, f"marts.{table}")
        if not existing:
            _create(cursor, table, wanted)
        is_indexed = bool(_existing(cursor, f"marts.{table}_day"))
        if existing and not is_indexed and not _was_published(cursor, analysis):
            raise ConfigurationError(
                f"analysis {analysis.name}: marts.{table} exists without its index {table}_day, so Wayfare did not "
                "make it; rename or drop it"
            )
        _refuse_breaking_change(analysis, wanted, existing)
        if not is_indexed:
            _index(cursor, table, mart)
    _refuse_another_day(cursor, analysis)
    _refuse_other_periods(cursor, analysis)
    for table, wanted in tables.items():
        _follow(cursor, table, analysis, wanted)


def superseded(name: str) -> str:
    """Name of the table of a vintage's closed rows."""
    return f"{name}_superseded"


def _follow(cursor: Any, name: str, analysis: BehaviorAnalysis, wanted: Mapping[str, Column]) -> None:
    existing = _existing(cursor, f"marts.{name}")
    changes = [
        f'ALTER COLUMN "{n}" DROP NOT NULL' for n, (_, required) in existing.items() if required and wanted[n].nullable
    ]
    # nullable whatever is declared: rows published before have no value
    changes += [f'ADD COLUMN "{n}" {column.type}' for n, column in wanted.items() if n not in existing]
    if changes:
        cursor.execute(f'ALTER TABLE marts."{name}" {", ".join(changes)}')
        cursor.connection.commit()
    _comment(cursor, "TABLE", f"marts.{name}", analysis.question, wanted)


def create_views(cursor: Any, analysis: BehaviorAnalysis, currency: str) -> None:
    """Create, extend, describe and grant `bi.<mart>`, and `bi.<mart>_history` for a vintage.

    `currency` is the reporting currency, which the descriptions name. A view that stands is committed.

    Raises
    ------
    ConfigurationError
        There is a view or table of that name which Wayfare did not make.
    """
    mart, name = analysis.mart, analysis.relation
    expressions = {n: f'mart."{n}"' for n in mart.all_columns} | {"is_complete": _complete(analysis)}
    about = f"{analysis.question} The reporting currency is {currency}."
    views = {name: (about, mart.view_columns, f'marts."{name}" AS mart')}
    if mart.vintage:
        expressions |= {"published_at": "opened.published_at", "superseded_at": "closed.published_at"}
        history = mart.history_columns
        source = f"""({_every_row(analysis.relation, mart)}) AS mart
JOIN control.publication AS opened ON opened.publication_id = mart.published_in
LEFT JOIN control.publication AS closed ON closed.publication_id = mart.superseded_in"""
        ever = f"Every row as it was ever published, in the reporting currency of that time; now it is {currency}."
        views[f"{name}_history"] = (f"{analysis.question} {ever}", history, source)
    for view, (comment, columns, source) in views.items():
        stands = bool(_existing(cursor, f"bi.{view}"))
        _create_view(cursor, view, _select(cursor, view, {n: expressions[n] for n in columns}, source))
        _comment(cursor, "VIEW", f"bi.{view}", comment, columns)
        if stands:
            cursor.connection.commit()


def _every_row(name: str, mart: Mart) -> str:
    columns = quoted([*mart.all_columns, "published_in"])
    return (
        f'SELECT {columns}, NULL::bigint AS superseded_in FROM marts."{name}" UNION ALL '  # noqa: S608 - declared names
        f'SELECT {columns}, superseded_in FROM marts."{superseded(name)}"'
    )


def _was_published(cursor: Any, analysis: BehaviorAnalysis) -> bool:
    """Whether a table of its name is its own even without the index, which somebody dropped then."""
    cursor.execute("SELECT EXISTS (SELECT FROM control.publication WHERE analysis = %s)", (analysis.name,))
    return bool(cursor.fetchone()[0])


def _create(cursor: Any, name: str, wanted: Mapping[str, Column]) -> None:
    lines = [f'"{n}" {c.type}{"" if c.nullable else " NOT NULL"}' for n, c in wanted.items()]
    cursor.execute(f'CREATE TABLE marts."{name}" ({", ".join(lines)})')


def _index(cursor: Any, name: str, mart: Mart) -> None:
    """One index, by ranges of days: what is published together lies together, and a B-tree doubles the cost of COPY.

    That keys are unique is judged by the audit and once more while the rows stream in.
    """
    cursor.execute(
        f'CREATE INDEX "{name}_day" ON marts."{name}" USING brin ("{mart.day}" date_minmax_multi_ops) '
        "WITH (pages_per_range = 32)"
    )


def summarize(cursor: Any, analysis: BehaviorAnalysis) -> None:
    """Let the indexes know of rows just written: ranges of pages that they do not know are read for every day.

    While somebody vacuums the mart, or adds an index to it, that is left to the next publication. To be called last:
    nothing else of the transaction is as impatient.
    """
    name = analysis.relation
    cursor.execute("SAVEPOINT written")
    cursor.execute("SET LOCAL lock_timeout = '100ms'")
    try:
        for table in [name, superseded(name)] if analysis.mart.vintage else [name]:
            cursor.execute("SELECT brin_summarize_new_values(%s)", (f'marts."{table}_day"',))
    except errors.LockNotAvailable:
        cursor.execute("ROLLBACK TO SAVEPOINT written")


def _existing(cursor: Any, name: str) -> dict[str, tuple[str, bool]]:
    """Columns of a table or view in order: type, and whether it is required; empty if there is none."""
    cursor.execute(
        """
        SELECT attname::text, CASE format_type(atttypid, atttypmod)
          WHEN 'timestamp with time zone' THEN 'timestamptz' ELSE format_type(atttypid, atttypmod) END, attnotnull
        FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """,
        (name,),
    )
    return {column: (type_, required) for column, type_, required in cursor.fetchall()}


def _refuse_breaking_change(
    analysis: BehaviorAnalysis, wanted: Mapping[str, Column], existing: Mapping[str, tuple[str, bool]]
) -> None:
    keys = [*analysis.mart.grain, *(["published_in"] if analysis.mart.vintage else [])]
    changed = [n for n, (type_, _) in existing.items() if n not in wanted or wanted[n].type != type_]
    changed += [n for n in keys if existing and n not in existing]
    if changed:
        what = f"column {changed[0]!r} of its mart was removed, retyped or added to the grain"
        if "published_in" in changed and "published_in" not in analysis.mart.all_columns:
            what = "its mart became a vintage, or ceased to be one"
        raise DeclarationError(
            f"analysis {analysis.name}: {what}, but marts.{analysis.relation} is published: set "
            f"version={analysis.mart.version + 1} in its Mart, and the new shape is published alongside the old"
        )


def _refuse_another_day(cursor: Any, analysis: BehaviorAnalysis) -> None:
    """Rows are replaced by their output day: those of days of the former one would stay for ever."""
    mart, name = analysis.mart, analysis.relation
    cursor.execute("SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass", (f'marts."{name}_day"',))
    (indexed,) = cursor.fetchone()
    if indexed != mart.day:
        raise DeclarationError(
            f"analysis {analysis.name}: the output day of marts.{name} is {indexed}, not {mart.day}: set "
            f"version={mart.version + 1} in its Mart, and the new shape is published alongside the old"
        )


def _refuse_other_periods(cursor: Any, analysis: BehaviorAnalysis) -> None:
    """Rows of days would stay beside those of the weeks that the days are in, and add up with them."""
    mart, name, period = analysis.mart, analysis.relation, analysis.mart.every.value
    if mart.every is Every.DAY:
        return
    other = f'"{mart.day}" <> date_trunc(%s, "{mart.day}")'
    cursor.execute(f'SELECT min("{mart.day}") FROM marts."{name}" WHERE {other}', (period,))  # noqa: S608 - declared names
    (day,) = cursor.fetchone()
    if day is not None:
        raise DeclarationError(
            f"analysis {analysis.name}: marts.{name} has rows of {day}, on which no {period} begins: set "
            f"version={mart.version + 1} in its Mart, and the new shape is published alongside the old"
        )


def _complete(analysis: BehaviorAnalysis) -> str:
    """SQL that says whether every input day of a row was past by the batch that the latest output day stands on.

    A later event makes that day stale, or a new one: until it is published, rows may lack what came with the event.
    Each max() is one step into an index.
    """

    def latest(known: str = "") -> str:
        of_type = "(SELECT max(event_on) FROM control.change WHERE event_type = {}{})"
        return f"GREATEST({', '.join(of_type.format(literal(e.name), known) for e in analysis.reads)})"

    last = f"(mart.\"{analysis.mart.day}\" + interval '1 {analysis.mart.every.value}')::date - 1"
    known = latest(" AND coalesce(first_batch_id, batch_id) <= published.through_batch")
    past = (
        f"SELECT {known} FROM control.published_day AS published "  # noqa: S608 - declared names
        f"WHERE analysis = {literal(analysis.name)} AND output_on <= {latest()} ORDER BY output_on DESC LIMIT 1"
    )
    return f"coalesce({last} + {analysis.window.after} < ({past}), false)"


def _select(cursor: Any, view: str, expressions: Mapping[str, str], source: str) -> str:
    """The query of a view, its present columns first: PostgreSQL adds columns to a view at the end only."""
    present = [n for n in _existing(cursor, f"bi.{view}") if n in expressions]
    ordered = [*present, *(n for n in expressions if n not in present)]
    selected = ", ".join(f'{expressions[n]} AS "{n}"' for n in ordered)
    return f"SELECT {selected} FROM {source}"  # noqa: S608 - declared names


def _create_view(cursor: Any, name: str, select: str) -> None:
    if not _shows(cursor, name, select):
        try:
            cursor.execute(f'CREATE OR REPLACE VIEW bi."{name}" AS {select}')
        except (errors.InvalidTableDefinition, errors.WrongObjectType) as error:
            why = str(error).splitlines()[0]
            raise ConfigurationError(
                f"bi.{name} exists and is not Wayfare's view ({why}): rename or drop it"
            ) from error
    cursor.execute(f'GRANT SELECT ON bi."{name}" TO {READER}')


def _shows(cursor: Any, name: str, select: str) -> bool:
    """Whether the view is there and says just this; replacing it would wait for its readers, and hold up the next."""
    cursor.execute(f"CREATE TEMPORARY VIEW wanted AS {select}")
    cursor.execute(
        "SELECT coalesce(pg_get_viewdef('pg_temp.wanted'::regclass) = pg_get_viewdef(to_regclass(%s)), false)",
        (f"bi.{name}",),
    )
    (same,) = cursor.fetchone()
    cursor.execute("DROP VIEW pg_temp.wanted")
    return bool(same)


def _comment(cursor: Any, kind: str, name: str, comment: str, columns: Mapping[str, Column]) -> None:
    """Describe a table or view and its columns, where the description differs."""
    cursor.execute(
        """
        SELECT coalesce(attname::text, ''), description
        FROM pg_description LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
        WHERE objoid = to_regclass(%s) AND classoid = 'pg_class'::regclass
        """,
        (name,),
    )
    present = dict(cursor.fetchall())
    if present.get("") != comment:
        cursor.execute(f"COMMENT ON {kind} {name} IS {literal(comment)}")
    for column, declared in columns.items():
        if present.get(column) != declared.comment:
            cursor.execute(f'COMMENT ON COLUMN {name}."{column}" IS {literal(declared.comment)}')
