"""What docstrings show by example holds."""

from __future__ import annotations

import pytest

import docstrings
from wayfare.settings import PROJECT


@pytest.mark.parametrize("module", docstrings.with_examples(PROJECT / "include"))
def test_examples_hold(module: str) -> None:
    docstrings.check(module)
