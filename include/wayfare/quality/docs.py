"""Data Docs: one page for each validation, at a path that follows from the chunk, and an index of those there are."""

from __future__ import annotations

import datetime as dt
import html
import shutil
from typing import TYPE_CHECKING

from wayfare.quality.page import rendered, style
from wayfare.storage import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wayfare.quality.judge import Judgment

KEPT = 50
"""Pages kept for each analysis; older ones are removed."""


def page_path(docs_dir: Path, analysis: str, gate: str, chunk_key: str) -> Path:
    """Where the page of one validation is: four folders deep, as the page's own link to the index takes for granted."""
    return docs_dir / "validations" / analysis / gate / chunk_key / "index.html"


def write(docs_dir: Path, analysis: str, gate: str, chunk_key: str, judgments: Sequence[Judgment]) -> Path:
    """Write the page of one validation and tidy up; return the page."""
    page = page_path(docs_dir, analysis, gate, chunk_key)
    _write(page, rendered(f"{analysis} {gate}", chunk_key, judgments))
    tidy(docs_dir, analysis)
    return page


def tidy(docs_dir: Path, analysis: str) -> None:
    """Remove an analysis's oldest pages past `KEPT`, and bring the index up to date."""
    by_age = sorted(_pages(docs_dir, analysis), key=_changed_at, reverse=True)
    for old in by_age[KEPT:]:
        shutil.rmtree(old.parent, ignore_errors=True)
    _write(docs_dir / "index.html", _index(docs_dir))


def _index(docs_dir: Path) -> str:
    lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8"><title>Data Docs · Wayfare</title>']
    lines.append(f"<style>{style()}</style></head><body><main><h1>Data Docs</h1>")
    for folder in sorted((docs_dir / "validations").iterdir()):
        lines.append(f"<h2>{html.escape(folder.name)}</h2><ul>")
        for page in sorted(_pages(docs_dir, folder.name), key=_changed_at, reverse=True):
            judged = dt.datetime.fromtimestamp(_changed_at(page), dt.UTC)
            link = html.escape(page.relative_to(docs_dir).as_posix())
            name = html.escape(f"{page.parts[-3]} {page.parts[-2]}")
            lines.append(f'<li><a href="{link}">{name}</a>, judged {judged:%Y-%m-%d %H:%M} UTC</li>')
        lines.append("</ul>")
    return "\n".join([*lines, "</main></body></html>\n"])


def _pages(docs_dir: Path, analysis: str) -> list[Path]:
    return list((docs_dir / "validations" / analysis).glob("*/*/index.html"))


def _changed_at(page: Path) -> float:
    """When a page was written; a page that another task has just removed is the oldest."""
    return page.stat().st_mtime if page.exists() else 0.0


def _write(path: Path, text: str) -> None:
    def fill(temporary: str) -> None:
        with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 - write_atomic hands over a string
            file.write(text)

    write_atomic(str(path), fill)
