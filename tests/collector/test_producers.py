"""Producers: tokens, names and event types."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from wayfare.cli.serving import producer_app
from wayfare.collector import producers
from wayfare.errors import DataError, ServiceError
from wayfare.settings import Settings
from wayfare.staging import database


def test_the_command_prints_a_token_once_and_lists_no_secret(settings: Settings) -> None:
    runner = CliRunner()
    token = runner.invoke(producer_app, ["add", "web", "--types", "search, view"]).output.strip()
    known = producers.listed(settings)
    held = producers.holder(known, token)
    assert held is not None
    assert (held.name, held.event_types, held.events_per_second) == ("web", {"search", "view"}, 10_000)
    listed = runner.invoke(producer_app, ["list"]).output
    assert listed == "web  10,000/s  search, view\n"
    assert runner.invoke(producer_app, ["revoke", "web"]).exit_code == 0
    assert producers.holder(producers.listed(settings), token) is None
    assert "revoked" in runner.invoke(producer_app, ["list"]).output


def test_a_revoked_producer_gets_another_token(settings: Settings) -> None:
    first = producers.add(settings, "web", ["search"], 10)
    with pytest.raises(DataError, match="exists; revoke it first"):
        producers.add(settings, "web", ["search"], 10)
    producers.revoke(settings, "web")
    second = producers.add(settings, "web", ["view"], 20)
    known = producers.listed(settings)
    assert (producers.holder(known, first), producers.holder(known, second)) == (None, known[0])
    assert known[0].event_types == {"view"}


def test_faults_are_sentences(settings: Settings) -> None:
    with pytest.raises(DataError, match="a name is"):
        producers.add(settings, "We b", ["search"], 10)
    with pytest.raises(DataError, match="web: serach is not an event type; choose from booking"):
        producers.add(settings, "web", ["serach"], 10)
    with pytest.raises(DataError, match="no event type is given"):
        producers.add(settings, "web", [], 10)
    with pytest.raises(DataError, match="no producer nobody to revoke"):
        producers.revoke(settings, "nobody")
    refused = CliRunner().invoke(producer_app, ["add", "web", "--types", "search", "--rate", "3000000000"])
    assert "Invalid value for '--rate'" in refused.output
    read_only = f"{settings.url('owner')}?options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(ServiceError, match="takes no changes: cannot execute INSERT in a read-only transaction"):
        producers.add(Settings(home=settings.home, database_url=read_only), "web", ["search"], 10)
    database.engine(read_only).dispose()
