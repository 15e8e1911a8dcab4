"""Wayfare's own pages: reached from the tasks that made them, readable by everybody, and whole without the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from wayfare.analyses import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from e2e.installation import Installation

ANALYSIS = "economic_results"


@pytest.fixture
def complaints(member: BrowserContext) -> Iterator[list[str]]:
    """What pages of ours wrote to the console; it must stay empty."""
    told: list[str] = []

    def note(message: object) -> None:
        told.append(str(message))

    member.on("console", note)
    member.on("weberror", note)
    yield told
    member.remove_listener("console", note)
    member.remove_listener("weberror", note)


def opened(member: BrowserContext, task: str, link: str) -> Page:
    """The page behind a link of a published chunk's task, opened from the details of the task."""
    answer = member.request.get(f"/api/v2/dags/{ANALYSIS}/dagRuns/~/taskInstances?task_id={task}&state=success")
    instance = answer.json()["task_instances"][-1]
    page = member.new_page()
    page.goto(f"/dags/{ANALYSIS}/runs/{instance['dag_run_id']}/tasks/{task}/mapped/{instance['map_index']}/details")
    page.get_by_role("link", name=link, exact=True).click()
    page.get_by_role("heading", level=1).wait_for()
    return page


def test_a_gate_leads_to_its_verdicts(member: BrowserContext, complaints: list[str]) -> None:
    page = opened(member, "validate", "Data Docs")
    expect(page).to_have_title(f"{ANALYSIS} input · Wayfare")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{ANALYSIS} input")
    expect(page.get_by_text("Everything holds.")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Expectation").first).to_be_visible()
    page.get_by_role("link", name="Data Docs").click()
    expect(page.get_by_role("heading", level=2, name=ANALYSIS)).to_be_visible()
    page.close()
    assert complaints == []


def test_publish_leads_to_the_mart(member: BrowserContext, complaints: list[str]) -> None:
    page = opened(member, "publish", "Mart")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"bi.{ANALYSIS}")
    rows, columns = page.get_by_role("table").all()
    assert rows.get_by_role("row").count() > 1
    names = columns.get_by_role("row").get_by_role("cell").nth(0)
    expect(names).to_have_text(next(iter(registry.get(ANALYSIS).mart.all_columns)))
    page.close()
    assert complaints == []


def test_the_menu_leads_to_the_marts(member: BrowserContext, complaints: list[str]) -> None:
    page = member.new_page()
    page.goto("/dags")
    page.get_by_role("link", name="Marts").click()
    marts = page.frame_locator("iframe")
    expect(marts.get_by_role("row")).to_have_count(1 + len(registry.analyses()))
    marts.get_by_role("link", name=ANALYSIS).click()
    expect(marts.get_by_role("heading", level=1)).to_have_text(f"bi.{ANALYSIS}")
    page.close()
    assert complaints == []


def test_pages_are_accessible(chromium: Browser, member: BrowserContext, published: Installation) -> None:
    """As axe-core judges them; it is a script, so this reader's browser lets scripts into pages that forbid them."""
    reader = {"base_url": published.ui, "storage_state": member.storage_state()}
    with chromium.new_context(**reader, bypass_csp=True) as context:
        page = context.new_page()
        for path in ("marts", f"marts/{ANALYSIS}", "docs/index.html"):
            page.goto(f"/wayfare/{path}")
            assert violated(page) == [], path
        page.get_by_role("link").first.click()
        expect(page.get_by_role("columnheader", name="Expectation").first).to_be_visible()
        assert violated(page) == []


def violated(page: Page) -> list[str]:
    return [violation["id"] for violation in Axe().run(page).response["violations"]]
