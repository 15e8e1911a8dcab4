"""The Makefile, on a machine whose Python was replaced under .venv."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from wayfare.settings import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


def make(checkout: Path, *arguments: str) -> str:
    command = [
        "make",
        "--no-print-directory",
        f"--file={PROJECT / 'Makefile'}",
        "PYTHON=python",
        "WAYFARE_HOME=",
        *arguments,
    ]
    return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One that was set up, and whose interpreter is gone."""
    for name in ("scripts/bootstrap.py", "requirements.txt", "pyproject.toml", ".wayfare/data", ".venv/.ready"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to("/nonexistent/python3.11")
    return tmp_path


def test_a_venv_whose_python_is_gone_is_made_anew(checkout: Path) -> None:
    assert "python scripts/bootstrap.py" in make(checkout, "--dry-run", "setup")
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\necho sound\n")
    python.chmod(0o755)
    assert "bootstrap" not in make(checkout, "--dry-run", "setup")


def test_what_does_not_run_is_removed_without_a_python(checkout: Path) -> None:
    assert make(checkout, "down") == ""
    make(checkout, "clean")
    assert sorted(path.name for path in checkout.iterdir()) == ["pyproject.toml", "requirements.txt", "scripts"]


def test_what_runs_is_stopped_before_it_is_removed(checkout: Path) -> None:
    (checkout / ".wayfare/postgres").mkdir()
    (checkout / ".wayfare/postgres/postmaster.pid").touch()
    steps = make(checkout, "--dry-run", "clean")
    assert steps.index("bootstrap.py") < steps.index("wayfare down") < steps.index("rm -rf")
