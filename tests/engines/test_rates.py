"""Exchange rates against the library that publishes them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import currency_converter
import pytest
from currency_converter import CurrencyConverter

from wayfare.engines.rates import rates
from wayfare.engines.sessions import session

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings

THROUGH = dt.date(2031, 5, 6)


def _factors(settings: Settings, reporting: str, day: dt.date) -> dict[str, float]:
    chosen = settings.model_copy(update={"currency": reporting})
    with session(chosen) as connection:
        found = rates(connection, chosen, THROUGH).filter(f"rate_on = DATE '{day}'").project("currency, to_reporting")
        pairs = found.fetchall()
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.parametrize("day", [dt.date(2024, 3, 28), dt.date(2024, 3, 31), dt.date(2015, 12, 26)])
def test_a_day_has_its_rate_or_the_last_before_it(settings: Settings, day: dt.date) -> None:
    converter = CurrencyConverter(fallback_on_missing_rate=True, fallback_on_missing_rate_method="last_known")
    dollars = _factors(settings, "USD", day)
    assert dollars["EUR"] == pytest.approx(converter.convert(1, "EUR", "USD", day))
    assert dollars["USD"] == 1.0
    # A yen has no minor unit: 1,000 yen are 1,000 minor units, and become cents.
    assert dollars["JPY"] * 1_000 == pytest.approx(converter.convert(1_000, "JPY", "USD", day) * 100)
    yen = _factors(settings, "JPY", day)
    assert yen["USD"] * 1_000 == pytest.approx(converter.convert(10, "USD", "JPY", day))


def test_rates_reach_past_the_last_day_published(settings: Settings) -> None:
    last = CurrencyConverter().bounds["USD"].last_date
    assert _factors(settings, "EUR", THROUGH) == _factors(settings, "EUR", last)
    assert _factors(settings, "EUR", THROUGH + dt.timedelta(1)) == {}


def test_another_edition_of_the_rates_is_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = dt.date(2024, 3, 28)
    for rate in (2, 4):
        edition = tmp_path / f"{rate}.csv"
        edition.write_text(f"Date,USD\n{day},{rate}\n")
        monkeypatch.setattr(currency_converter, "CURRENCY_FILE", str(edition))
        assert _factors(settings, "EUR", day) == {"EUR": 1, "USD": 1 / rate}


def test_a_currency_without_a_rate_has_no_row(settings: Settings) -> None:
    early = _factors(settings, "EUR", dt.date(1999, 1, 4))
    assert "USD" in early
    assert "BRL" not in early
    assert "KWD" not in early


def test_a_reporting_currency_that_is_not_published_converts_only_itself(settings: Settings) -> None:
    assert _factors(settings, "AED", dt.date(2024, 3, 28)) == {"AED": 1.0}
