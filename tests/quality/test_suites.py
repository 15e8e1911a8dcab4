"""Wrong declarations, and the expectations that follow from contracts."""

from __future__ import annotations

import pytest

from quality.selling import Sold
from wayfare.analyses import registry
from wayfare.analyses.api import Expect
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import DeclarationError
from wayfare.quality import check
from wayfare.quality.suites import contract_expects, fields_of, text_of

NOT_NULL = "ExpectColumnValuesToNotBeNull"


@pytest.mark.filterwarnings("ignore:.*row_condition", "ignore:.*condition_parser")
@pytest.mark.parametrize(
    ("expect", "parts"),
    [
        (Expect("ExpectColumnValuesNotNull", {"column": "units"}), ("'ExpectColumnValuesToNotBeNull'",)),
        (Expect(NOT_NULL, {"colunm": "units"}), ("'colunm'", "'column'")),
        (Expect(NOT_NULL, {"column": "unit"}), ("'unit'", "'units'")),
        (Expect(NOT_NULL, {"column": "units", "severity": "info"}), ("'severity'",)),
        (Expect(NOT_NULL), ("column: field required",)),
        (Expect(NOT_NULL, {"column": "units", "mostly": 2}), ("mostly",)),
        (Expect(NOT_NULL, {"column": "units"}, "fatal"), ("severity",)),  # type: ignore[arg-type]  # what is tested
        (
            Expect(NOT_NULL, {"column": "units", "row_condition": "a='b'", "condition_parser": "great_expectations"}),
            ("unable to parse condition: a='b'",),
        ),
        (Expect("ExpectCompoundColumnsToBeUnique", {"column_list": ["units", "pricy"]}), ("'pricy'", "'price'")),
        (Expect("ExpectCompoundColumnsToBeUnique", {"column_list": None}), ("column_list: none is not",)),
        (Expect("ExpectCompoundColumnsToBeUnique", {"column_list": ["units", 1]}), ("there is no column '1'",)),
        (
            Expect("ExpectColumnValuesToBeIncreasing", {"column": "units"}),
            ("cannot be computed on DuckDB; write it as UnexpectedRowsExpectation with a query",),
        ),
    ],
)
def test_a_wrong_declaration_names_itself_and_the_nearest_right(expect: Expect, parts: tuple[str, ...]) -> None:
    analysis = Sold()
    analysis.expect_input = {"booking": (expect,)}
    with pytest.raises(DeclarationError) as refusal:
        check(analysis)
    for part in ("sold.expect_input['booking']", expect.expectation, *parts):
        assert part in str(refusal.value)


def test_output_expectations_know_the_mart() -> None:
    analysis = Sold()
    analysis.expect_output = (Expect(NOT_NULL, {"column": "itmes"}),)
    with pytest.raises(DeclarationError, match=r"sold.expect_output.*'itmes'.*'items'"):
        check(analysis)


@pytest.mark.parametrize("name", registry.analyses())
def test_what_is_shipped_is_declared_rightly(name: str) -> None:
    check(registry.get(name))


def test_columns_of_sold_items_are_known() -> None:
    analysis = Sold()
    analysis.expect_input = {"cancellation": (Expect(NOT_NULL, {"column": "item_key"}),)}
    check(analysis)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_contract_is_expected(name: str) -> None:
    event_type = EVENT_TYPES[name]
    expects = contract_expects(event_type)
    filled = {fields_of(e) for e in expects if e.expectation == NOT_NULL}
    assert {f.name for f in event_type.fields if f.required} <= filled
    chosen = {e.arguments["column"]: e.arguments["value_set"] for e in expects if "value_set" in e.arguments}
    assert chosen == {f.name: list(f.choices) for f in event_type.fields if f.choices}
    least = {e.arguments["column"]: e.severity for e in expects if e.arguments.get("min_value") == 0}
    numbers = [f for f in event_type.fields if f.kind.value in {"count", "money"}]
    assert least.items() >= {f.name: "warning" if f.signed else "critical" for f in numbers}.items()
    bounded = {e.arguments["column"] for e in expects if "max_value" in e.arguments}
    assert {f.name for f in numbers if f.kind.value == "money"} <= bounded


def test_an_expectation_reads_like_its_declaration() -> None:
    assert text_of(Expect(NOT_NULL, {"column": "units"})) == f"{NOT_NULL}(column=units)"
    assert text_of(Expect(NOT_NULL, {"column": "units", "description": "units are known"})) == "units are known"
