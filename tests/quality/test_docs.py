"""The Data Docs site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quality.selling import bookings, chunk_of, staged
from wayfare import quality
from wayfare.analyses.api import Expect
from wayfare.quality import docs

if TYPE_CHECKING:
    from quality.selling import Sold
    from wayfare.settings import Settings


@pytest.fixture
def page(settings: Settings, sold: Sold) -> Path:
    """The page of a validation whose events hold HTML."""
    safe = Expect("ExpectColumnValuesToBeInSet", {"column": "cabin", "value_set": ["economy"]}, "warning")
    sold.expect_input = {"booking": (safe,)}
    chunk = staged(settings, bookings([100], cabin="<script>alert('cabin')</script>"))
    return Path(str(quality.validate(settings, chunk)["docs"]))


def test_a_page_shows_what_broke_and_runs_nothing_of_it(settings: Settings, page: Path) -> None:
    assert page == docs.page_path(settings.docs_dir, "sold", "input", chunk_of().key)
    text = page.read_text(encoding="utf-8")
    assert "booking: Overview" in text
    assert "volume: Overview" in text
    assert "script&gt;alert(" in text
    assert "<script>alert(" not in text


def test_a_page_is_whole_by_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<style>" in text
    assert "unknown %" not in text
    assert re.findall(r"<script|<link|https?://", text) == []


def test_the_page_finds_the_index_and_the_index_the_page(settings: Settings, page: Path) -> None:
    index = settings.docs_dir / "index.html"
    homes = re.findall(r'href="((?:\.\./)+index\.html)"', page.read_text(encoding="utf-8"))
    assert homes
    assert {(page.parent / home).resolve() for home in homes} == {index.resolve()}
    links = re.findall(r'href="([^"]+)"', index.read_text(encoding="utf-8"))
    assert {(settings.docs_dir / link).resolve() for link in links} == {page.resolve()}


def test_the_oldest_pages_are_removed(tmp_path: Path) -> None:
    for n in range(docs.KEPT + 3):
        for analysis in ("sold", "other"):
            old = docs.page_path(tmp_path, analysis, "input", f"chunk{n:03}")
            old.parent.mkdir(parents=True)
            old.write_text("")
            os.utime(old, (n, n))
    docs.tidy(tmp_path, "sold")
    left = {p.parent.name for p in (tmp_path / "validations" / "sold").glob("*/*/index.html")}
    assert left == {f"chunk{n:03}" for n in range(3, docs.KEPT + 3)}
    assert len(list((tmp_path / "validations" / "other").glob("*/*"))) == docs.KEPT + 3
    assert "chunk000" not in (tmp_path / "index.html").read_text(encoding="utf-8").split("<h2>sold</h2>")[1]
