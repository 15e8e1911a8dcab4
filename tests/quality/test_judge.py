"""Verdicts and breaking rows against the same rules said in Python."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses.api import Expect
from wayfare.errors import ConfigurationError, DeclarationError, ServiceError
from wayfare.quality.context import datasource
from wayfare.quality.judge import breaking_events, judge
from wayfare.quality.suites import Suite, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.quality.judge import Judgment

Row = tuple[int | None, int | None, str | None]
COLUMNS = ["event_id", "a", "b", "word"]
QUERY = "SELECT event_id FROM {batch} WHERE a % 2 = 1"

PAIR = {"column_A": "a", "column_B": "b", "ignore_row_if": "either_value_is_missing"}


def broken_by(row: Row) -> list[tuple[Expect, bool]]:
    """Every rule, and whether the row breaks it."""
    a, b, word = row
    return [
        (Expect("ExpectColumnValuesToNotBeNull", {"column": "word"}), word is None),
        (Expect("ExpectColumnValuesToBeBetween", {"column": "a", "min_value": 2}), a is not None and a < 2),
        (
            Expect("ExpectColumnValuesToBeInSet", {"column": "word", "value_set": ["x", ""]}),
            word not in {"x", "", None},
        ),
        (
            Expect("ExpectColumnValueLengthsToEqual", {"column": "word", "value": 1}),
            word is not None and len(word) != 1,
        ),
        (Expect("ExpectColumnPairValuesAToBeGreaterThanB", PAIR), a is not None and b is not None and a <= b),
        (Expect("UnexpectedRowsExpectation", {"unexpected_rows_query": QUERY}), a is not None and a % 2 == 1),
    ]


RULES = [expect for expect, _ in broken_by((None, None, None))]
NUMBERS = st.none() | st.integers(0, 4)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([None, "", "x", "y'", '"zz"'])), max_size=20)


def judged(rows: list[Row], *expects: Expect) -> tuple[Judgment, list[tuple[str, uuid.UUID]], list[Any]]:
    """The judgment of rows whose event_id is their place, what was set aside, and the breaches of the whole."""
    with duckdb.connect() as connection, datasource(connection) as source:
        connection.execute("CREATE TABLE quarantined (event_type text, event_id uuid, rule text)")
        connection.execute("CREATE TABLE booking (event_id uuid, a integer, b integer, word text)")
        for n, row in enumerate(rows):
            connection.execute("INSERT INTO booking VALUES (?, ?, ?, ?)", [uuid.UUID(int=n), *row])
        found = judge(source, Suite("booking", expects, "x.expect_input"), COLUMNS)
        whole = breaking_events(connection, found)
        aside = connection.execute("SELECT rule, event_id FROM quarantined ORDER BY ALL").fetchall()
    return found, aside, whole


@settings(max_examples=6, deadline=None)
@given(rows=ROWS)
def test_what_breaks_a_rule_is_what_python_says(rows: list[Row]) -> None:
    found, aside, whole = judged(rows, *RULES)
    assert whole == []
    for n, (expect, verdict) in enumerate(zip(RULES, found.verdicts, strict=True)):
        wrong = {uuid.UUID(int=place) for place, row in enumerate(rows) if broken_by(row)[n][1]}
        assert (verdict.success, verdict.unexpected) == (not wrong, len(wrong)), expect
        assert {event_id for rule, event_id in aside if rule == text_of(expect)} == wrong, expect


def test_mostly_lets_some_pass() -> None:
    one_in_four: list[Row] = [(1, None, None), (2, None, None), (3, None, None), (None, None, None)]
    some = {"column": "a", "mostly": 0.7}
    most = {"column": "a", "mostly": 0.8}
    found, aside, _ = judged(one_in_four, *(Expect("ExpectColumnValuesToNotBeNull", a) for a in (some, most)))
    assert [v.success for v in found.verdicts] == [True, False]
    assert [event_id.int for _, event_id in aside] == [3]


def test_what_is_no_single_row_s_fault_sets_none_aside() -> None:
    unique = [
        Expect("ExpectColumnValuesToBeUnique", {"column": "a"}),
        Expect("ExpectCompoundColumnsToBeUnique", {"column_list": ["a", "b"]}),
    ]
    _, aside, whole = judged([(1, 1, "x"), (1, 1, "y"), (2, 1, "x")], *unique)
    assert aside == []
    assert [verdict.expect for verdict in whole] == unique


def test_only_critical_rules_set_aside() -> None:
    rule = {"column": "a", "min_value": 2}
    found, aside, whole = judged(
        [(1, 1, "x")], *(Expect("ExpectColumnValuesToBeBetween", rule, s) for s in ("warning", "info"))
    )
    assert [v.success for v in found.verdicts] == [False, False]
    assert (aside, whole) == ([], [])
    assert [len(found.failed(s)) for s in ("warning", "info", "critical")] == [1, 1, 0]


def test_the_same_rule_twice_is_judged_twice() -> None:
    rule = Expect("ExpectColumnValuesToNotBeNull", {"column": "a"})
    found, aside, _ = judged([(None, 1, "x")], rule, rule)
    assert [v.success for v in found.verdicts] == [False, False]
    assert len({event_id for _, event_id in aside}) == 1


def test_a_rule_that_duckdb_cannot_compute_is_named() -> None:
    good = Expect("ExpectColumnValuesToNotBeNull", {"column": "a"})
    regex = Expect("ExpectColumnValuesToMatchRegex", {"column": "word", "regex": "^x"})
    with pytest.raises(DeclarationError) as refusal:
        judged([(1, 1, "x")], good, regex)
    for part in ("x.expect_input", "ExpectColumnValuesToMatchRegex(column=word", "UnexpectedRowsExpectation"):
        assert part in str(refusal.value)
    assert "NotBeNull" not in str(refusal.value)


def test_a_query_that_is_not_sql_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"SELEC nothing.*; correct its query"):
        judged(
            [(1, 1, "x")], Expect("UnexpectedRowsExpectation", {"unexpected_rows_query": "SELEC nothing FROM {batch}"})
        )


def test_a_file_that_cannot_be_read_is_no_fault_of_the_rule() -> None:
    query = "SELECT event_id FROM {batch} SEMI JOIN read_parquet('nowhere.parquet') USING (event_id)"
    with pytest.raises(ServiceError, match=r"UnexpectedRowsExpectation.*nowhere\.parquet"):
        judged([(1, 1, "x")], Expect("UnexpectedRowsExpectation", {"unexpected_rows_query": query}))


def test_too_little_memory_says_what_to_set() -> None:
    unique = Expect("ExpectColumnValuesToBeUnique", {"column": "a"})
    with duckdb.connect() as connection, datasource(connection) as source:
        connection.execute("CREATE VIEW booking AS SELECT range AS a FROM range(3000000)")
        connection.execute("SET memory_limit = '20MB'")
        connection.execute("SET temp_directory = ''")
        with pytest.raises(ConfigurationError, match="WAYFARE_DUCKDB_MEMORY_LIMIT"):
            judge(source, Suite("booking", (unique,), "x.expect_input"), ["a"])


def test_a_full_disk_is_not_taken_for_too_little_memory(tmp_path: Path) -> None:
    unique = Expect("ExpectColumnValuesToBeUnique", {"column": "a"})
    with duckdb.connect() as connection, datasource(connection) as source:
        connection.execute("CREATE VIEW booking AS SELECT range AS a FROM range(3000000)")
        connection.execute("SET memory_limit = '20MB'")
        connection.execute("SET threads = 1")
        connection.execute(f"SET temp_directory = '{tmp_path}'")
        connection.execute("SET max_temp_directory_size = '1MB'")
        with pytest.raises(ServiceError, match="no more room in the spill folder to spill to"):
            judge(source, Suite("booking", (unique,), "x.expect_input"), ["a"])
