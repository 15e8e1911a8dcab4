"""The pictures of the analyses' pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wayfare.settings import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COUNTED = "name => document.getElementsByTagName(name).length"


def test_pictures_show_text_load_nothing_and_run_nothing(chromium: Browser) -> None:
    pictures = sorted((PROJECT / "docs" / "analyses").glob("*.svg"))
    assert pictures
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for picture in pictures:
        page.goto(picture.as_uri())
        assert page.evaluate(COUNTED, "text"), picture
        assert not page.evaluate(COUNTED, "script"), picture
    assert asked == [picture.as_uri() for picture in pictures]
    page.close()
