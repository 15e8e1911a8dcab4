"""A scaffolded analysis passes the linters, the check and its own test, as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wayfare.analyses import scaffold
from wayfare.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def written(tmp_path: Path) -> list[Path]:
    (tmp_path / "include" / "wayfare" / "analyses").mkdir(parents=True)
    (tmp_path / "include" / "wayfare" / "analyses" / "__init__.py").write_text('"""Analyses."""\n')
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return scaffold.write("repeat_bookers", tmp_path)


def test_the_files_are_formatted_and_clean(written: list[Path], tmp_path: Path) -> None:
    for arguments in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, *map(str, written)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_test_passes_with_any_window_and_the_check_finds_nothing(written: list[Path], tmp_path: Path) -> None:
    program = f"""
import wayfare.analyses
wayfare.analyses.__path__.append({str(written[0].parent)!r})
from wayfare.analyses.registry import get
from wayfare.analyses.check import problems
assert problems(get("repeat_bookers")) == []
import pytest, shutil
shutil.copy({str(PROJECT / "tests" / "analyses" / "conftest.py")!r}, {str(written[1].parent)!r})
from wayfare.analyses.api import Window
for window in (Window(), Window(before=28)):
    type(get("repeat_bookers")).window = window
    assert not pytest.main(["-p", "no:cacheprovider", "--rootdir", {str(tmp_path)!r}, {str(written[1])!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed") == 2


@pytest.mark.parametrize("name", ["RepeatBookers", "9lives", "a__b", "", "top_10_routes", "class"])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a name for a module and a class"):
        scaffold.write(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 60, "takes the name 'a{60}_day' in PostgreSQL, which keeps 63 characters"),
        ("sessions", "sessions takes the name sessions already"),
        ("sessions_day", "sessions takes the name sessions_day already"),
        ("wayfare_maintenance", "takes the name wayfare_maintenance, which is Wayfare's own DAG"),
    ],
)
def test_a_name_that_no_mart_could_have_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        scaffold.write(name, tmp_path)


@pytest.mark.parametrize("there", ["models/__init__.py", "models.py"])
def test_the_name_of_a_module_or_a_package_is_refused(there: str, tmp_path: Path) -> None:
    taken = tmp_path / "include" / "wayfare" / "analyses" / there
    taken.parent.mkdir(parents=True)
    taken.touch()
    with pytest.raises(ConfigurationError, match="exists already"):
        scaffold.write("models", tmp_path)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="project"):
        scaffold.write("repeat_bookers", tmp_path)
