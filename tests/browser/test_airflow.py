"""Airflow's UI, as somebody of the data team uses it: to find an analysis, to read about it, to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from wayfare.analyses import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from e2e.installation import Installation


@pytest.fixture
def page(member: BrowserContext) -> Iterator[Page]:
    made = member.new_page()
    yield made
    made.close()


def test_every_analysis_has_its_dag_with_its_tags(page: Page) -> None:
    page.goto("/dags")
    analyses = registry.analyses()
    expect(page.get_by_text(f"{len(analyses) + 1} Dags")).to_be_visible()
    page.get_by_role("link", name="wayfare_maintenance", exact=True).wait_for()
    shown = set(page.get_by_role("link").all_inner_texts())
    assert shown >= {*analyses, *(tag for analysis in analyses.values() for tag in analysis.tags)}


def test_a_dag_says_whose_it_is_and_what_it_answers_and_takes_days(page: Page) -> None:
    analysis = registry.get("economic_results")
    page.goto(f"/dags/{analysis.name}")
    expect(page.get_by_role("link", name=analysis.owner, exact=True)).to_be_visible()
    page.get_by_role("button", name="Dag Docs").click()
    documentation = page.get_by_role("dialog")
    expect(documentation).to_contain_text(analysis.question)
    expect(documentation.get_by_role("columnheader", name="meaning")).to_be_attached()
    assert set(documentation.get_by_role("cell").all_inner_texts()) >= {*analysis.mart.all_columns}

    page.keyboard.press("Escape")
    page.get_by_role("button", name="Trigger").click()
    form = page.get_by_role("dialog")
    form.get_by_role("checkbox", name="Force").wait_for()
    for description in ("First output day to bring", "Last output day to bring", "even where they are fresh"):
        expect(form).to_contain_text(description)


def test_who_is_not_logged_in_sees_nothing(chromium: Browser, published: Installation) -> None:
    with chromium.new_context(base_url=published.ui) as stranger:
        page = stranger.new_page()
        for path in ("marts", "marts/economic_results", "docs/index.html"):
            answer = page.goto(f"/wayfare/{path}")
            assert answer is not None
            assert answer.status == 401
            assert "economic_results" not in page.content()
        page.goto("/dags")
        expect(page.get_by_label("Password")).to_be_visible()
