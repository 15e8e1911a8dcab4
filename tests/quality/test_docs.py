"""The Data Docs site."""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING

import pytest

import stores
from quality.selling import bookings, chunk_of, staged
from wayfare import quality, storage
from wayfare.analyses.api import Expect
from wayfare.quality import docs

if TYPE_CHECKING:
    from quality.selling import Sold
    from wayfare.settings import Settings


@pytest.fixture
def page(anywhere: Settings, sold: Sold) -> str:
    """Where the page is of a validation whose events hold HTML."""
    safe = Expect("ExpectColumnValuesToBeInSet", {"column": "cabin", "value_set": ["economy"]}, "warning")
    sold.expect_input = {"booking": (safe,)}
    chunk = staged(anywhere, bookings([100], cabin="<script>alert('cabin')</script>"))
    return str(quality.validate(anywhere, chunk)["docs"])


def test_a_page_shows_what_broke_and_runs_nothing_of_it(anywhere: Settings, page: str) -> None:
    assert page == docs.page_url(anywhere.storage, "sold", "input", chunk_of().key)
    text = storage.read_text(page)
    assert "booking: Overview" in text
    assert "volume: Overview" in text
    assert "script&gt;alert(" in text
    assert "<script>alert(" not in text


def test_a_page_is_whole_by_itself(page: str) -> None:
    text = storage.read_text(page)
    assert "<style>" in text
    assert "unknown %" not in text
    assert re.findall(r"<script|<link|https?://", text) == []


def test_the_page_finds_the_index_and_the_index_the_page(anywhere: Settings, page: str) -> None:
    index = docs.index_url(anywhere.storage)
    homes = re.findall(r'href="((?:\.\./)+index\.html)"', storage.read_text(page))
    assert homes
    assert {_followed(page, home) for home in homes} == {index}
    links = re.findall(r'href="([^"]+)"', storage.read_text(index))
    assert {_followed(index, link) for link in links} == {page}


def _followed(page: str, link: str) -> str:
    return page[: page.index("/data_docs/")] + os.path.normpath(f"{page[page.index('/data_docs/') :]}/../{link}")


@pytest.mark.usefixtures("sold")
def test_the_oldest_pages_are_removed(anywhere: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "KEPT", 2)
    for n in range(7):
        for analysis in ("sold", "other"):
            page = docs.page_url(anywhere.storage, analysis, "input", f"chunk{n}")
            stores.write(page, b"", age_days=7 - n)
            if n < 3:
                docs.keep(page)
    docs.tidy(anywhere.storage, "sold")
    left = [page.split("/")[-4:-1] for page in storage.files(f"{anywhere.storage}/data_docs/validations", ".html")]
    kept = ["chunk1", "chunk2", "chunk5", "chunk6"]
    assert sorted(chunk for analysis, _, chunk in left if analysis == "sold") == kept, "two refusals and two others"
    assert len([analysis for analysis, _, _ in left if analysis == "other"]) == 7
    listed = re.findall(r"(\w+)/input/(chunk\d)", storage.read_text(docs.index_url(anywhere.storage)))
    assert listed == [("sold", chunk) for chunk in reversed(kept)], "what is not registered has no page in the UI"
