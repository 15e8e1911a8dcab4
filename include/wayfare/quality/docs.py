"""Data Docs: one page for each validation, at a path that follows from the chunk, and an index of those there are.

They are in the storage, below `data_docs`, so that whoever serves them need not run where they were written.
"""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING

from wayfare.analyses import registry
from wayfare.quality.page import rendered, style
from wayfare.storage import files, filesystem, remove, write_atomic

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from wayfare.quality.judge import Judgment

KEPT = 50
"""Pages kept for each analysis, and as many of refusals; older ones are removed."""
_REFUSED = "refused"
"""The file beside the page of a refusal."""


def index_url(storage: str) -> str:
    """Where the index is, below the storage's path or URL."""
    return f"{storage}/data_docs/index.html"


def page_url(storage: str, analysis: str, gate: str, chunk_key: str) -> str:
    """Where the page of one validation is: four folders deep, as the page's own link to the index takes for granted."""
    return f"{storage}/data_docs/validations/{analysis}/{gate}/{chunk_key}/index.html"


def write(storage: str, analysis: str, gate: str, chunk_key: str, judgments: Sequence[Judgment]) -> str:
    """Write the page of one validation and tidy up; return where the page is.

    Tasks that end together may each leave an index without the other's page; the next one lists both.
    """
    page = page_url(storage, analysis, gate, chunk_key)
    _write(page, rendered(f"{analysis} {gate}", chunk_key, judgments))
    tidy(storage, analysis)
    return page


def keep(page: str) -> None:
    """Count the page of a refusal apart, or those of a long run's other chunks would push it out before it is read."""
    _write(page.replace("index.html", _REFUSED), "")


def tidy(storage: str, analysis: str) -> None:
    """Remove an analysis's oldest pages past `KEPT`, and bring the index of what is registered up to date."""
    url = f"{storage}/data_docs/validations"
    _, root = filesystem(url)
    written = {file.removeprefix(f"{root}/"): at for file, at in files(url).items()}
    pages = sorted((f for f in written if f.endswith("/index.html")), key=written.__getitem__, reverse=True)
    refused = [page for page in pages if page.replace("index.html", _REFUSED) in written]
    passed = [page for page in pages if page not in refused]
    old = [page for kind in (refused, passed) for page in [p for p in kind if _analysis(p) == analysis][KEPT:]]
    for page in old:
        remove(f"{url}/{page}".rpartition("/")[0])
    listed = [page for page in pages if page not in old and _analysis(page) in registry.analyses()]
    _write(index_url(storage), _index({page: written[page] for page in listed}))


def _index(pages: dict[str, dt.datetime]) -> str:
    """The list of pages by analysis; `pages` are paths below `validations`, the latest first, with when it was."""
    lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8"><title>Data Docs · Wayfare</title>']
    lines.append(f"<style>{style()}</style></head><body><main><h1>Data Docs</h1>")
    for analysis, of_analysis in itertools.groupby(sorted(pages, key=_analysis), key=_analysis):
        lines.append(f"<h2>{html.escape(analysis)}</h2><ul>")
        for page in of_analysis:
            _, gate, chunk_key, _ = page.split("/")
            link, name = html.escape(f"validations/{page}"), html.escape(f"{gate} {chunk_key}")
            lines.append(f'<li><a href="{link}">{name}</a>, judged {pages[page]:%Y-%m-%d %H:%M} UTC</li>')
        lines.append("</ul>")
    return "\n".join([*lines, "</main></body></html>\n"])


def _analysis(page: str) -> str:
    return page.partition("/")[0]


def _write(url: str, text: str) -> None:
    def fill(temporary: str) -> None:
        fs, path = filesystem(temporary)
        fs.pipe_file(path, text.encode())

    write_atomic(url, fill)
