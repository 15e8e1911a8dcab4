"""What a Data Docs page looks like: Great Expectations' own sections in a frame of ours.

Great Expectations' frame loads styles, scripts and a dated logo from a dozen servers. Ours loads nothing and runs
nothing, so that the page is whole under any Content-Security-Policy, from a disk or from an object store.
"""

from __future__ import annotations

import datetime as dt
import functools
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.quality.judge import Judgment

_TEMPLATES = Path(__file__).parent / "templates"
_HEADINGS = {"h5": "h2", "h6": "h3"}
"""Great Expectations' headings by what they are under the page's one `h1`."""


def rendered(title: str, run_name: str, judgments: Sequence[Judgment]) -> str:
    """The page of one validation; it finds the index four folders up."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    whole: Any = None
    for judgment in judgments:
        result = judgment.result
        result.suite_name = title
        result.meta["run_id"] = RunIdentifier(run_name=run_name, run_time=dt.datetime.now(dt.UTC))
        for one in result.results:
            one.result = _escaped(one.result)
        document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
        for section in document.sections:
            _name(section, judgment.verdicts[0].asset)
        if whole is None:
            whole = document
        else:
            whole.sections += document.sections
    broken = [verdict for judgment in judgments for verdict in judgment.verdicts if not verdict.success]
    return str(_view().render(whole, template="data_docs_page.html", title=title, run_name=run_name, broken=broken))


@functools.cache
def _view() -> Any:
    """Great Expectations' view, which compiles its templates once."""
    from great_expectations.render.view.view import DefaultJinjaPageView

    return DefaultJinjaPageView(custom_views_directory=str(_TEMPLATES))


@functools.cache
def style() -> str:
    """The style sheet of the pages."""
    return (_TEMPLATES / "data_docs.css").read_text("utf-8")


def _name(section: Any, asset: str) -> None:
    """Say in a section's name and heading which asset it is about; take out the link to a page that nobody writes."""
    section.section_name = f"{asset}: {section.section_name}"
    for block in section.content_blocks:
        header, subheader = (getattr(block, part, None) for part in ("header", "subheader"))
        if header is not None:
            template = header.string_template
            if template["tag"] == "h5":
                template["template"] = section.section_name
            template["tag"] = _HEADINGS[template["tag"]]
        if subheader is not None:
            subheader.string_template["styling"]["params"].pop("expectation_suite_name", None)


def _escaped(value: Any) -> Any:
    """Values of events come from outside, and Great Expectations prints unexpected ones as they are."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return html.escape(value) if isinstance(value, str) else value
