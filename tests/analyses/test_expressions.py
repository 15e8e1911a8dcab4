"""The shared expressions with an edge worth a property."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses import expressions

if TYPE_CHECKING:
    from analyses.conftest import Runner

MINUTE = dt.timedelta(minutes=1)
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0, 1, 29, 30, 31, 60, 61, 200])), max_size=12
    )
)
def test_with_session_equals_a_walk_through_the_events(runner: Runner, visits: list[tuple[str | None, int]]) -> None:
    table = pa.table(
        {
            "event_id": pa.array(range(len(visits)), pa.int64()),
            "who": pa.array([who for who, _ in visits], pa.string()),
            "occurred_at": pa.array([START + minute * MINUTE for _, minute in visits], pa.timestamp("us", "UTC")),
        }
    )
    got = {r["event_id"]: r["session"] for r in runner.rows(expressions.with_session(runner.frame(table), ["who"]))}
    expected, last = {}, {}
    for number, (who, minute) in sorted(enumerate(visits), key=lambda v: (v[1][1], v[0])):
        before, session = last.get(who, (-100, 0))
        last[who] = (minute, session + (minute - before > 30))
        expected[number] = last[who][1]
    assert got == expected


@settings(max_examples=50)
@given(st.integers(-(2**50), 2**50), st.integers(0, 400))
def test_rounded_quotient_is_exact_and_rounds_halves_away_from_zero(runner: Runner, amount: int, divisor: int) -> None:
    table = pa.table({"a": pa.array([amount], pa.int64()), "b": pa.array([divisor], pa.int64())})
    frame = runner.frame(table).select(n=expressions.rounded_quotient(nw.col("a"), nw.col("b")))
    sign = -1 if amount < 0 else 1
    expected = sign * ((2 * abs(amount) + divisor) // (2 * divisor)) if divisor else None
    assert runner.rows(frame) == [{"n": expected}]
