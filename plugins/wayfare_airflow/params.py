"""The trigger form, and the one function that reads a time range from it.

Runs started by an asset have no logical date and runs started by a clock have an empty data interval, so nothing else
in a run says which days are meant: without days in the form, `plan` takes whatever is stale.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import Param

from wayfare.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Request(NamedTuple):
    """Output days asked for (None: no bound), and whether fresh ones are computed again."""

    first: dt.date | None
    last: dt.date | None
    force: bool


def form() -> dict[str, Param]:
    """Params of an analysis's DAG."""
    return {
        "from": _day("From", "First output day to bring up to date; empty: the first there is."),
        "to": _day("To", "Last output day to bring up to date; empty: the last there is."),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Compute the days again even where they are fresh.",
        ),
    }


def requested(params: Mapping[str, Any]) -> Request:
    """What a run's params ask for; params that are not there ask for nothing.

    >>> requested({"from": "2026-03-01", "to": None})
    Request(first=datetime.date(2026, 3, 1), last=None, force=False)

    Raises
    ------
    ConfigurationError
        A day is not written YYYY-MM-DD, or `force` is something else than true, false or nothing.
    """
    force = params.get("force")
    if not isinstance(force, bool | None):
        raise ConfigurationError(f"params: force is {force!r}; write true or false, without quotation marks")
    return Request(_read(params, "from"), _read(params, "to"), bool(force))


def _day(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def _read(params: Mapping[str, Any], name: str) -> dt.date | None:
    value = params.get(name)
    if value in (None, ""):
        return None
    try:
        # not date.fromisoformat: it reads 20260301 and 2026-W09-7, too
        return dt.datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except (TypeError, ValueError):
        raise ConfigurationError(f"params: {name} is {value!r}; write a day as YYYY-MM-DD") from None
