"""The time range of a run comes from its params and from nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from wayfare.errors import ConfigurationError

MARCH = dt.date(2026, 3, 1)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (None, None, False)),
        ({"from": None, "to": None, "force": False}, (None, None, False)),
        ({"from": "", "to": ""}, (None, None, False)),
        ({"from": "2026-03-01"}, (MARCH, None, False)),
        ({"from": "2026-03-01", "to": "2026-03-01", "force": True}, (MARCH, MARCH, True)),
        ({"unrelated": 1}, (None, None, False)),
    ],
)
def test_params_are_read(params: dict[str, Any], expected: tuple[object, ...]) -> None:
    from wayfare_airflow.params import requested

    assert requested(params) == expected


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"to": "01/03/2026"}, "to is '01/03/2026'; write a day as YYYY-MM-DD"),
        ({"from": 5}, "from is 5; write a day"),
        ({"from": "20260301"}, "from is '20260301'; write a day"),
        ({"from": dt.datetime(2026, 3, 1)}, "write a day"),  # noqa: DTZ001 - a day is a text
        ({"from": False}, "from is False; write a day"),
        ({"force": "false"}, "force is 'false'; write true or false"),
        ({"force": 1}, "force is 1; write true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused(params: dict[str, Any], message: str) -> None:
    from wayfare_airflow.params import requested

    with pytest.raises(ConfigurationError, match=message):
        requested(params)


def test_form_accepts_days_and_nothing_else() -> None:
    from airflow.sdk.definitions.param import ParamsDict
    from airflow.sdk.exceptions import ParamValidationError

    from wayfare_airflow.params import form

    ParamsDict({**form(), "from": form()["from"]}).validate()
    for wrong in ("yesterday", 5, "2026-13-01"):
        with pytest.raises(ParamValidationError):
            form()["from"].resolve(value=wrong)
    assert form()["from"].resolve(value="2026-03-01") == "2026-03-01"
