"""The fixture of an analysis to judge."""

from __future__ import annotations

import pytest

from quality.selling import Sold
from wayfare.analyses import registry


@pytest.fixture
def sold(monkeypatch: pytest.MonkeyPatch) -> Sold:
    """The analysis, under its name in the registry; set its attributes to declare something else."""
    made = Sold()
    monkeypatch.setitem(registry.analyses(), "sold", made)
    return made
