"""What the simulator plants, the published marts tell: one demonstration through the whole pipeline."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from wayfare import landing, simulator
from wayfare.pipeline import bring_up_to_date
from wayfare.simulator import BEST_CHANNEL, FULL_FLIGHT, PAIRED, RISKY_PRODUCT, SURGE, TRENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from wayfare.settings import Settings

FIRST, DAYS = dt.date(2025, 3, 1), 45
LAST = FIRST + dt.timedelta(DAYS - 1)
SURGE_DAY = LAST - dt.timedelta(SURGE)


@pytest.fixture(scope="module")
def demonstration(
    fresh_installation: Callable[[], AbstractContextManager[Settings]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Forty-five days of an agency with 1,500 customers, landed."""
    folder = tmp_path_factory.mktemp("demonstration")
    simulator.simulate(folder, days=DAYS, customers=1_500, seed=7, start=FIRST)
    with fresh_installation() as settings:
        landing.land(settings, sorted(str(f) for f in folder.glob("*.parquet")))
        yield settings


def published(
    settings: Settings, analysis: str, query: str, first: dt.date | None = None, last: dt.date | None = None
) -> list[tuple[Any, ...]]:
    """Rows of a query, after the days of an analysis that it asks for were published."""
    assert list(bring_up_to_date(settings, analysis, first=first, last=last))
    with psycopg.connect(settings.url("owner")) as connection:
        return connection.execute(query.encode()).fetchall()


def test_a_destination_trends(demonstration: Settings) -> None:
    query = f"""
        SELECT searched_on - date '{FIRST}' < 7, sum(intents) FILTER (WHERE destination = '{TRENDING}') / sum(intents)
        FROM bi.destination_demand WHERE searched_on - date '{FIRST}' < 7 OR date '{LAST}' - searched_on < 7
        GROUP BY 1 ORDER BY 1 DESC
    """
    (_, before), (_, after) = published(demonstration, "destination_demand", query)
    assert after / before > 1.5


def test_a_channel_converts_better_than_any_other(demonstration: Settings) -> None:
    query = """
        SELECT channel FROM bi.conversion_funnel WHERE step = 'booking' AND channel <> 'direct'
        GROUP BY channel ORDER BY sum(reached) / sum(entered) DESC LIMIT 1
    """
    assert published(demonstration, "conversion_funnel", query) == [(BEST_CHANNEL,)]


def test_a_flight_is_the_fullest(demonstration: Settings) -> None:
    query = """
        SELECT resource_id FROM bi.capacity_alerts WHERE product = 'flight' AND days_out <= 3
        GROUP BY resource_id ORDER BY avg(load_factor) DESC LIMIT 1
    """
    assert published(demonstration, "capacity_alerts", query, LAST - dt.timedelta(10), LAST) == [(FULL_FLIGHT,)]


def test_a_product_is_cancelled_more_often(demonstration: Settings) -> None:
    query = """
        SELECT product FROM bi.cancellation_risk WHERE product IN ('flight', 'hotel')
        GROUP BY product ORDER BY sum(cancelled)::float / sum(at_risk) FILTER (WHERE age_weeks = 0) DESC LIMIT 1
    """
    assert published(demonstration, "cancellation_risk", query) == [(RISKY_PRODUCT,)]


def test_two_ancillaries_sell_together(demonstration: Settings) -> None:
    query = """
        SELECT ancillary_a, ancillary_b FROM bi.ancillary_affinity
        WHERE product = 'flight' AND service_month = '2025-04-01' AND lift IS NOT NULL
        ORDER BY lift DESC LIMIT 1
    """
    assert published(demonstration, "ancillary_affinity", query) == [PAIRED]


def test_bots_and_a_surge_stand_out(demonstration: Settings) -> None:
    query = f"""
        SELECT count(*) FILTER (WHERE series = 'automated_session'),
          bool_or(is_anomalous) FILTER (WHERE series = 'searches')
        FROM bi.traffic_anomalies WHERE observed_on = '{SURGE_DAY}'
    """
    ((bots, is_anomalous),) = published(demonstration, "traffic_anomalies", query, SURGE_DAY, SURGE_DAY)
    assert bots > 0
    assert is_anomalous
