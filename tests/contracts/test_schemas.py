"""JSON Schema and landing agree, as far as JSON Schema can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from landing.sample_events import event
from landing.test_decoding import CONTRACTS, REFUSALS, odd_lines
from wayfare.cli.schema import app
from wayfare.contracts import EVENT_TYPES, EventType, Field, Kind, json_schema
from wayfare.errors import DeclarationError
from wayfare.landing.careful import CarefulDecoder, Refused

VALIDATOR = Draft202012Validator(json_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
STRUCTURAL = {"missing_field", "unknown_type", "unknown_version"} | {
    f"bad_{kind}" for kind in ("uuid", "id", "text", "choice", "date", "currency", "country", "place", "flag")
}
NUMERIC = {"bad_count", "bad_money"}
FIRST_RELEASE = Path(__file__).parents[1] / "staging" / "first_release.jsonl"


def _refusal(line: str) -> str | None:
    try:
        CarefulDecoder(CONTRACTS).decode(line)
    except Refused as refused:
        return refused.fault.reason
    return None


def _faults(written: Any) -> list[Any]:
    """What the schema finds, but for a UUID without hyphens and an instant with a space, which landing takes too."""
    if not isinstance(written, dict):
        return list(VALIDATOR.iter_errors(written))
    bare = written.get("event_id")
    if isinstance(bare, str) and len(bare) == 32:
        written = {**written, "event_id": f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"}
    at = written.get("occurred_at")
    if isinstance(at, str) and at[10:11] == " ":
        written = {**written, "occurred_at": f"{at[:10]}T{at[11:]}"}
    return list(VALIDATOR.iter_errors(written))


def _has_whole_floats(written: dict[str, Any]) -> bool:
    return any(isinstance(value, float) and value.is_integer() for value in written.values())


@given(odd_lines())
@example(json.dumps(event(is_test=None, channel=None, seen_by={"nobody": [1]})))
@example(json.dumps(event(schema_version="2-0-0")))
@example(json.dumps(event(occurred_at="2026-03-01 10:00:00Z")))
@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_landing_takes_fits_and_what_is_built_wrongly_does_not(line: str) -> None:
    try:
        written = json.loads(line)
    except json.JSONDecodeError:
        return
    reason, faults = _refusal(line), _faults(written)
    if reason is None:
        assert faults == []
    elif reason in STRUCTURAL or (reason in NUMERIC and not _has_whole_floats(written)):
        assert faults


@pytest.mark.parametrize(("text", "reason"), [(t, r) for t, r, _ in REFUSALS if r in STRUCTURAL | NUMERIC | {None}])
def test_refusals_that_landing_knows(text: str, reason: str | None) -> None:
    whole = reason in NUMERIC and _has_whole_floats(json.loads(text))
    assert bool(_faults(json.loads(text))) == (reason is not None and not whole)


def test_events_of_every_type_fit() -> None:
    lines = FIRST_RELEASE.read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert {e["event_type"] for e in events} == EVENT_TYPES.keys()
    for written in events:
        assert _faults(written) == []
        for name in json_schema(written["event_type"])["required"]:
            assert _faults({n: v for n, v in written.items() if n != name}), name


def test_the_schema_of_a_type_says_what_its_contract_says() -> None:
    schema = json_schema("booking")
    Draft202012Validator.check_schema(schema)
    fields = schema["properties"]
    assert schema["required"][0] == "event_type"
    assert {"event_id", "occurred_at", "units", "currency"} <= set(schema["required"])
    assert "cost" not in schema["required"]
    assert fields["event_id"]["format"] == "uuid"
    assert fields["occurred_at"]["format"] == "date-time"
    assert fields["currency"]["pattern"] == "^[A-Z]{3}$"
    assert fields["point_of_sale"]["anyOf"][0]["pattern"] == "^[A-Z]{2}$"
    assert set(fields["product"]["enum"]) == {"flight", "hotel", "car", "package"}
    assert schema["additionalProperties"] is True
    assert fields.keys() - {"event_type"} == EVENT_TYPES["booking"].by_name.keys()


def test_the_command_prints_one_or_all() -> None:
    assert json.loads(CliRunner().invoke(app, ["travel"]).output) == json_schema("travel")
    assert json.loads(CliRunner().invoke(app, []).output)["$defs"].keys() == EVENT_TYPES.keys()
    unknown = CliRunner().invoke(app, ["bookings"]).exception
    assert isinstance(unknown, DeclarationError)
    assert str(unknown) == "there is no event type 'bookings'; did you mean 'booking'?"


@pytest.mark.parametrize("choice", ["1", "1e5", "true", "nan", "Yes", '"'])
def test_a_choice_is_a_word_that_json_takes_for_nothing_else(choice: str) -> None:
    with pytest.raises(DeclarationError, match="field 'outcome' has the choice"):
        EventType(
            "travel", "1-0-0", "A trip.", (Field("outcome", Kind.CHOICE, "Outcome.", choices=("no_show", choice)),)
        )
