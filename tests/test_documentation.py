"""The generated pages: complete, and what is committed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from marts import tiny
from wayfare import documentation
from wayfare.analyses import registry
from wayfare.analyses.api import Picture
from wayfare.contracts import EVENT_TYPES
from wayfare.snapshots import REFERENCE_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from wayfare.analyses.api import BehaviorAnalysis


def test_the_committed_pages_are_what_the_code_says() -> None:
    assert registry.analyses()
    assert documentation.main(["--check"]) == 0


def test_the_readme_asks_what_the_analyses_ask() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+\?) \|$", (documentation.PROJECT / "README.md").read_text(), re.MULTILINE)
    committed = {n: a for n, a in registry.analyses().items() if type(a).__module__.startswith(documentation.PACKAGE)}
    assert dict(rows) == {name: analysis.question for name, analysis in committed.items()}


def _install(monkeypatch: pytest.MonkeyPatch, *found: BehaviorAnalysis) -> None:
    """Make `found` the only analyses, and this package's own."""
    tiny.install(monkeypatch, *found)
    monkeypatch.setattr(documentation, "PACKAGE", tiny.__name__)


def test_an_analysis_of_another_package_has_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found by its entry point where it is installed, and is none of what is committed here."""
    committed = documentation.pages()
    monkeypatch.setitem(registry.analyses(), "sales", tiny.Sales())
    assert documentation.pages() == committed


def test_every_field_rule_and_column_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, tiny.Sales(), tiny.Stock())
    text = documentation.pages()["data-dictionary.md"]
    for event_type in EVENT_TYPES.values():
        section = text.split(f"### {event_type.name}\n")[1].split("\n###")[0]
        assert all(f"| `{rule.code}` |" in section for rule in event_type.rules)
        for field in event_type.fields:
            assert f"| `{field.name}` |" in text.split("### search\n")[0] + section
    assert all(f"| `{column.name}` |" in text for column in REFERENCE_COLUMNS)
    assert "| `sold` | bigint | additive | Items sold. |" in text
    assert "| `on_hand` | bigint | semi-additive | What is there. |" in text
    assert text.count("| `is_complete` | boolean |") == 2
    assert "| `search_on` | date | key, output day | The day of the search. |" in text
    history = text.split("`bi.stock_history`")[1]
    assert "| `published_at` | timestamptz |" in history
    assert "| `superseded_at` | timestamptz |" in history


def test_the_catalog_has_one_row_per_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, tiny.Sales(), tiny.Stock())
    rows = [line for line in documentation.pages()["analyses.md"].splitlines() if line.startswith("| [")]
    page, question, level = "analyses/", "How many were sold, and what's the mean price?", "How much is there?"
    assert rows == [
        f"| [sales]({page}sales.md) | {question} | analytics |  | search, booking | 2 days after | city, search_on |",
        f"| [stock]({page}stock.md) | {level} | analytics |  | inventory | 3 days before | resource_id, service_on |",
    ]


def test_an_analysis_page_shows_its_docstring_and_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Picture("Sold by day.", "SELECT search_on AS x, sum(sold) AS y FROM bi.sales GROUP BY 1")
    monkeypatch.setattr(tiny.Sales, "picture", picture)
    _install(monkeypatch, tiny.Sales())
    text = documentation.pages()["analyses/sales.md"]
    assert "How many were sold" in text
    assert "![Sold by day.](sales.svg)" in text
    assert picture.query in text


def test_check_names_the_page_that_drifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documentation, "PROJECT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert documentation.main(["--check"]) == 1
    assert documentation.main([]) == 0
    assert documentation.main(["--check"]) == 0
    page = tmp_path / "docs" / "analyses.md"
    page.write_text(page.read_text() + "by hand\n")
    capsys.readouterr()
    assert documentation.main(["--check"]) == 1
    assert capsys.readouterr().err == ("docs/analyses.md is not what the contracts and analyses say: run `make docs`\n")


def test_the_page_of_an_analysis_that_is_no_more_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documentation, "PROJECT", tmp_path)
    page = tmp_path / "docs" / "analyses" / "former.md"
    page.parent.mkdir(parents=True)
    page.touch()
    documentation.main(["--check"])
    assert "docs/analyses/former.md is not" in capsys.readouterr().err
    documentation.main([])
    assert not page.exists()
    assert documentation.main(["--check"]) == 0
