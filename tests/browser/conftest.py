"""Debian's Chromium, which reaches this machine alone, and what a page asked of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from programs import required

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext

    from e2e.installation import Installation

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
PATIENCE_MS = 60_000


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all pages."""
    program = required("chromium", "chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield made
        made.close()


@pytest.fixture(scope="package")
def published(landed: Installation) -> Installation:
    """The installation, once its marts are published."""
    landed.wait_until_published()
    return landed


@pytest.fixture(scope="package")
def member(chromium: Browser, published: Installation) -> Iterator[BrowserContext]:
    """A member of the data team, who went to the printed address and logged in with the printed password."""
    printed = re.search(r"Airflow UI +(\S+) +\(user (\S+), password (\S+)\)", published.output.read_text())
    assert printed
    asked: list[str] = []
    with chromium.new_context(base_url=printed[1]) as context:
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Username").fill(printed[2])
        page.get_by_label("Password").fill(printed[3])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Dags", exact=True).wait_for()
        page.close()
        yield context
    assert [url for url in asked if not url.startswith((printed[1], "blob:", "data:"))] == []
