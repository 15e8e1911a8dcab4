"""Fingerprints: what moves a number moves it, what does not leaves it, everywhere the same."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wayfare.analyses.api import BehaviorAnalysis, Expect
from wayfare.contracts import Field, Kind, Rule, sizes
from wayfare.contracts.events import BOOKING, REFUND, SEARCH, VIEW
from wayfare.errors import DeclarationError
from wayfare.marts.fingerprint import canonical, fingerprint
from wayfare.settings import Settings
from wayfare.snapshots import settlement

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.contracts import EventType

FILES = {
    "__init__.py": "from .deeper import DEPTH\n",
    "deeper.py": "DEPTH = 3\n",
    "demand.py": '''
"""A module."""
from wayfare.analyses.api import BehaviorAnalysis, Expect, Mart, Window, count, key
from wayfare.contracts.events import SEARCH
from . import tools
from agency.words import LIMIT


class Demand(BehaviorAnalysis):
    """Where to?"""

    owner = "somebody"
    tags = ("demand",)
    reads = (SEARCH,)
    window = Window(after=1)
    mart = Mart(
        day="event_on",
        grain={"event_on": key("Day.", "date"), "destination": key("Place.")},
        columns={"searches": count("Searches.")},
    )
    expect_input = {
        "search": (
            Expect("ExpectColumnValuesToBeBetween", {"column": "adults", "max_value": 9}),
            Expect("ExpectColumnValuesToBeInSet", {"column": "product", "value_set": {"flight", "hotel", "car"}}),
        )
    }
    expect_output = (Expect("ExpectTableRowCountToBeBetween", {"min_value": 1}),)

    def analyze(self, given):
        """Count."""
        # one row a search
        return tools.counted(given["search"], LIMIT)
''',
    "tools.py": "from agency import DEPTH, deep\n\nunused = 1\n\n\n"
    "def counted(frame, limit):\n    return deep.filtered(frame, DEPTH).head(limit)\n",
    "deep.py": "STRICT = []\nSTRICT.append(2)\n\n\n@STRICT.append\ndef rule(n):\n    return n > 1\n\n\n"
    "def filtered(frame, depth):\n    return frame.filter('result_count')\n",
    "words.py": "from typing import TYPE_CHECKING\n\nMÍNIMO = 10\n"
    "if TYPE_CHECKING:\n    LIMIT: int\nelse:\n    LIMIT = MÍNIMO\n",
    "other.py": "UNRELATED = 1\n",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings without a database: none is asked."""
    return Settings(home=tmp_path / "home")


def analysis(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: tuple[str, str]) -> BehaviorAnalysis:
    """Demand of a package `agency`, some of its files changed: file=(what, with what)."""
    home = folder / f"v{len(list(folder.iterdir()))}"
    (home / "agency").mkdir(parents=True)
    for name, source in FILES.items():
        old, new = changes.get(name.removesuffix(".py"), ("", ""))
        assert old in source
        (home / "agency" / name).write_text(source.replace(old, new, 1) if old else source, "utf-8")
    for name in [m for m in sys.modules if m.split(".")[0] == "agency"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(home)
    made: BehaviorAnalysis = importlib.import_module("agency.demand").Demand()
    return made


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("demand", "# one row a search", "# one row per search, whatever it found"),
        ("demand", '"""Count."""', '"""Count searches."""'),
        ("demand", '"""Where to?"""', '"""Where do they want to go?"""'),
        ("demand", '"""A module."""', ""),
        (
            "demand",
            'tools.counted(given["search"], LIMIT)',
            "tools.counted(\n            given['search'], LIMIT\n        )",
        ),
        ("demand", '"Searches."', '"Searches, unique or not."'),
        ("demand", '"somebody"', '"somebody else"'),
        ("demand", '("demand",)', '("demand", "daily")'),
        ("demand", '"min_value": 1', '"min_value": 2'),
        ("other", "UNRELATED = 1", "UNRELATED = 2"),
        ("tools", "import DEPTH, deep", "import DEPTH, deep, other"),
        ("tools", "unused = 1", "unused = 2"),
        ("tools", "unused = 1", "unused = 1\n\n\ndef another():\n    return unused"),
    ],
)
def test_what_changes_no_number_leaves_it(
    file: str, old: str, new: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(settings, analysis(tmp_path, monkeypatch))
    assert fingerprint(settings, analysis(tmp_path, monkeypatch, **{file: (old, new)})) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("demand", 'given["search"]', 'given["booking"]'),
        ("demand", "after=1", "after=2"),
        ("demand", "after=1", "before=1"),
        ("demand", 'count("Searches.")', 'key("Searches.")'),
        ("demand", '"searches": count', '"asked": count'),
        ("demand", 'columns={"searches"', 'vintage=True, columns={"searches"'),
        ("demand", 'columns={"searches"', 'version=2, columns={"searches"'),
        ("demand", '"max_value": 9', '"max_value": 8'),
        ("demand", '"max_value": 9}', '"max_value": 9}, "warning"'),
        ("demand", '"hotel", "car"', '"hotel", "package"'),
        ("words", "10", "11"),
        ("words", "= MÍNIMO", "= 7"),
        ("deeper", "3", "4"),
        ("deep", "n > 1", "n > 2"),
        ("tools", "head(limit)", "tail(limit)"),
        ("deep", "result_count", "adults"),
        ("deep", "'result_count'", "'result_count', STRICT"),
        ("deep", "STRICT = []", "STRICT = [1]"),
        ("deep", "STRICT.append(2)", "STRICT.append(3)"),
    ],
)
def test_what_may_change_a_number_moves_it(
    file: str, old: str, new: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(settings, analysis(tmp_path, monkeypatch))
    assert fingerprint(settings, analysis(tmp_path, monkeypatch, **{file: (old, new)})) != before


def test_a_contract_moves_it_by_the_fields_the_code_names(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analysis(tmp_path, monkeypatch)
    before = fingerprint(settings, found)

    def after(**changes: object) -> str:
        monkeypatch.setattr(type(found), "reads", (replace(SEARCH, **changes),))
        return fingerprint(settings, found)

    assert after() == before
    kinds = {"loyalty_level": Kind.TEXT, "tip": Kind.MONEY}
    gained = [Field(name, kind, "New.", required=False) for name, kind in kinds.items()]
    assert after(version="1-0-1", fields=(*SEARCH.fields, *gained)) == before
    assert after(version="1-1-0") != before
    assert after(rules=(*SEARCH.rules, Rule("new", "adults", "adults < 9", "are many"))) != before
    retyped = tuple(replace(f, kind=Kind.MONEY) if f.name == "result_count" else f for f in SEARCH.fields)
    assert after(fields=retyped) != before


@pytest.mark.parametrize(
    ("bound", "event_type", "moves"),
    [
        ("PLAUSIBLE_UNITS", BOOKING, True),
        ("PLAUSIBLE_UNITS", REFUND, True),
        ("PLAUSIBLE_UNITS", VIEW, False),
        ("PLAUSIBLE_MINOR", VIEW, True),
    ],
)
def test_what_sizes_are_an_error_moves_what_reads_them(
    *,
    bound: str,
    event_type: EventType,
    moves: bool,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = analysis(tmp_path, monkeypatch)
    monkeypatch.setattr(type(found), "reads", (event_type,))
    before = fingerprint(settings, found)
    monkeypatch.setattr(sizes, bound, 7)
    assert (fingerprint(settings, found) != before) is moves


def test_how_the_sale_behind_a_reversal_is_found_moves_what_reads_reversals(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analysis(tmp_path, monkeypatch)

    def moves() -> bool:
        with pytest.MonkeyPatch.context() as patch:
            before = fingerprint(settings, found)
            patch.setattr(settlement, "_LEDGER", f"{settlement._LEDGER} ")
            return fingerprint(settings, found) != before

    assert not moves()
    monkeypatch.setattr(type(found), "reads", (SEARCH, REFUND))
    assert moves()


@pytest.mark.parametrize(
    ("reach", "setting", "value", "moves"),
    [
        ("LIMIT", "timezone", "Europe/Lisbon", True),
        ("LIMIT", "currency", "USD", False),
        ("given.rates", "currency", "USD", True),
        ("LIMIT", "service_level", 0.9, False),
        ("given.service_level", "service_level", 0.9, True),
        ("given.rates", "chunk_rows", 7, False),
    ],
)
def test_a_setting_moves_it_if_the_code_reaches_it(
    *,
    reach: str,
    setting: str,
    value: object,
    moves: bool,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = analysis(tmp_path, monkeypatch, demand=("LIMIT)", f"{reach})"))
    changed = settings.model_copy(update={setting: value})
    assert (fingerprint(changed, found) != fingerprint(settings, found)) is moves


def test_it_is_the_same_in_every_process(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = analysis(tmp_path, monkeypatch)
    program = (
        "from agency.demand import Demand; from wayfare.marts.fingerprint import fingerprint; "
        "from wayfare.settings import get_settings; print(fingerprint(get_settings(), Demand()))"
    )
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint(settings, found)


def test_syntax_has_one_form_in_every_python_version() -> None:
    source = """
async def f(a, /, b: int = 1, *c, d=None, **e) -> 'x': # comment
    "docstring"
    match a:
        case {'k': [1, *_]} | None:
            return f"{b!r:>{d}} {a=}" u"x", b"y"
    with open(a) as g, b: pass
    return [x := y for y in (0x10, 1e3, 2j, ...) if not -y <= 'é' < 3] or (lambda: (yield))
"""
    digest = hashlib.sha256(json.dumps(canonical(ast.parse(source))).encode()).hexdigest()
    # a new Python version that breaks this would make every day of every mart stale
    assert digest == "f3d32fc6367c80350be0a55262de531573b78b70e29e96b4349a151257bf5410"


def test_a_value_that_is_another_in_each_process_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analysis(tmp_path, monkeypatch)
    odd = Expect("ExpectColumnValuesToBeInSet", {"column": "product", "value_set": [object()]})
    monkeypatch.setattr(type(found), "expect_input", {"search": (odd,)})
    with pytest.raises(DeclarationError, match="write it as text or a number"):
        fingerprint(settings, found)


def test_an_analysis_without_source_is_refused(settings: Settings) -> None:
    made = type("Typed", (BehaviorAnalysis,), {"__module__": "nowhere", "reads": (SEARCH,)})
    with pytest.raises(DeclarationError, match="source of nowhere cannot be read"):
        fingerprint(settings, made())
