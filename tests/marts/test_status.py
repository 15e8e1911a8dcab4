"""Status: what is fresh through which batch, and what was judged last."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner

from marts import tiny
from marts.tiny import day
from wayfare.analyses import registry
from wayfare.analyses.api import Window
from wayfare.marts import plan, publish, status
from wayfare.marts.fingerprint import fingerprint
from wayfare.staging.database import engine
from wayfare.staging.folding import fold

if TYPE_CHECKING:
    from wayfare.settings import Settings


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.install(monkeypatch, tiny.Sales(), tiny.Stock())


def judge(settings: Settings, chunk: str, gate: str = "output", **verdicts: bool) -> None:
    """Record an audit, or a validation: for each severity, whether its expectation held."""
    with engine(settings.url("owner")).begin() as connection:
        for severity, success in verdicts.items():
            connection.execute(
                text(
                    "INSERT INTO control.validation "
                    "(analysis, gate, chunk, asset, expectation, severity, success, message) "
                    "VALUES ('sales', :g, :c, 'sales', 'ExpectSomething', :s, :ok, '')"
                ),
                {"g": gate, "c": chunk, "s": severity, "ok": success},
            )


def sales(settings: Settings) -> dict[str, object]:
    found, _ = status(settings)
    assert found["analysis"] == "sales"
    return found


def test_before_anything_happened(settings: Settings) -> None:
    assert sales(settings) == {
        "analysis": "sales",
        "rows": 0,
        "last_on": None,
        "latest_batch": 0,
        "fresh_through": 0,
        "stale_days": 0,
        "publication_id": None,
        "published_at": None,
        "run_id": None,
        "audit": None,
        "audited_at": None,
    }


def test_after_a_publication_and_after_a_late_event(settings: Settings) -> None:
    tiny.touch(settings, 1, {0: 1, 5: 1})
    assert (sales(settings)["fresh_through"], sales(settings)["stale_days"]) == (0, 6)
    (chunk,) = plan(settings, "sales")
    tiny.write_result(settings, chunk, [("LIS", day(0), 1, None), ("LIS", day(4), 1, None)])
    for run_id in ("manual__1", "manual__2"):
        publish(settings, chunk, run_id=run_id)
    found = sales(settings)
    assert (found["rows"], found["last_on"], found["run_id"]) == (2, day(5), "manual__2")
    assert (found["fresh_through"], found["latest_batch"], found["stale_days"]) == (1, 1, 0)
    tiny.touch(settings, 2, {4: 1}, event_type="inventory")
    assert sales(settings)["fresh_through"] == 2
    tiny.touch(settings, 3, {4: 1})
    tiny.touch(settings, 4, {6: 1})
    found = sales(settings)
    assert (found["fresh_through"], found["latest_batch"], found["stale_days"]) == (2, 4, 5)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"critical": True, "warning": True, "info": False}, "passed"),
        ({"critical": True, "warning": False}, "warned"),
        ({"critical": False, "warning": True}, "failed"),
    ],
)
def test_the_verdict_is_of_the_last_chunk_audited(verdicts: dict[str, bool], expected: str, settings: Settings) -> None:
    judge(settings, "before", critical=not verdicts["critical"])
    judge(settings, "last", **verdicts)
    judge(settings, "not yet audited", "input", critical=False)
    with engine(settings.url("owner")).begin() as connection:  # while the clock was ahead
        connection.execute(text("UPDATE control.validation SET judged_at = '2099-01-01' WHERE chunk = 'before'"))
    assert sales(settings)["audit"] == expected


_touches = st.lists(st.dictionaries(st.integers(0, 9), st.just(1), min_size=1, max_size=3), min_size=1, max_size=5)


@given(
    touches=_touches,
    published=st.dictionaries(st.integers(0, 12), st.integers(1, 5)),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    ahead=st.booleans(),
)
@example(touches=[{0: 1}, {2: 1}], published={0: 1, 1: 2, 2: 2}, before=0, after=1, ahead=False)
@example(touches=[{0: 1}, {2: 1}, {1: 1}], published={0: 1, 1: 2, 2: 2}, before=0, after=1, ahead=False)
@budget(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fresh_through_agrees_with_the_definition(
    *,
    settings: Settings,
    touches: list[dict[int, int]],
    published: dict[int, int],
    before: int,
    after: int,
    ahead: bool,
) -> None:
    def days(through: int) -> tuple[list[tuple[int, int]], range]:
        """Changes of input days up to a batch, and the output days as of it."""
        changes = [(n, batch) for batch, touched in enumerate(touches[:through], 1) for n in touched]
        seen = {n for n, _ in changes}
        spanned = range(min(seen, default=0), max(seen, default=-1) + 1)
        changes += [(n, min(batch for m, batch in changes if m > n)) for n in spanned if n not in seen]
        return changes, range(spanned.start, spanned.stop + (before if ahead and seen else 0))

    def fresh(through: int) -> bool:
        changes, outputs = days(through)
        return all(
            o in stands and not any(o - before <= n <= o + after and batch > stands[o] for n, batch in changes)
            for o in outputs
        )

    stands = {o: through for o, through in published.items() if o in days(through)[1]}
    with pytest.MonkeyPatch.context() as patch, engine(settings.url("owner")).begin() as connection:
        for table in ("batch", "change", "published_day"):
            connection.execute(text(f"TRUNCATE control.{table}"))
        connection.commit()
        patch.setattr(tiny.Stock, "window", Window(before, after))
        patch.setattr(tiny.Stock, "mart", replace(tiny.Stock.mart, ahead=ahead))
        for batch, touched in enumerate(touches, 1):
            tiny.touch(settings, batch, touched, event_type="inventory")
        for n, through in stands.items():
            tiny.publish_days(settings, "stock", [n], through, fingerprint(settings, tiny.Stock()))
        _, found = status(settings)
        fold(settings.url("pipeline"), dt.datetime.now(dt.UTC))
        _, folded = status(settings)
    assert folded["stale_days"] == found["stale_days"]
    assert folded["fresh_through"] <= found["fresh_through"]  # type: ignore[operator]  # both are numbers
    assert folded["stale_days"] or folded["fresh_through"] == found["latest_batch"]
    assert found["fresh_through"] == max(n for n in range(len(touches) + 1) if all(fresh(m) for m in range(n + 1)))


def test_the_command_prints_a_table_and_json_and_says_what_is_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare.cli.status import app

    tiny.touch(settings, 1, {0: 1, 5: 1})
    shown = CliRunner().invoke(app, [])
    assert shown.exit_code == 0, shown.output
    assert "sales" in shown.output
    assert "6" in shown.output
    assert shown.stderr == ""
    monkeypatch.setitem(registry.broken(), "wayfare.analyses.mine", "cannot be imported")
    for arguments in ([], ["--json"]):
        shown = CliRunner().invoke(app, arguments)
        assert shown.stderr == "left out: wayfare.analyses.mine (`wayfare check` says why)\n"
    printed = json.loads(shown.stdout)
    assert [(row["analysis"], row["stale_days"], row["published_at"]) for row in printed] == [
        ("sales", 6, None),
        ("stock", 0, None),
    ]
