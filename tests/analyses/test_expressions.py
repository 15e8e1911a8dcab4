"""The shared expressions with an edge worth a property."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from wayfare.analyses import expressions

if TYPE_CHECKING:
    from analyses.conftest import Runner


@settings(max_examples=50)
@given(st.integers(-(2**50), 2**50), st.integers(0, 400))
def test_rounded_quotient_is_exact_and_rounds_halves_away_from_zero(runner: Runner, amount: int, divisor: int) -> None:
    table = pa.table({"a": pa.array([amount], pa.int64()), "b": pa.array([divisor], pa.int64())})
    frame = runner.frame(table).select(n=expressions.rounded_quotient(nw.col("a"), nw.col("b")))
    sign = -1 if amount < 0 else 1
    expected = sign * ((2 * abs(amount) + divisor) // (2 * divisor)) if divisor else None
    assert runner.rows(frame) == [{"n": expected}]
