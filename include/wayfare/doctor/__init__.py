"""Whether this installation is sound, and what to fix where it is not.

Belongs here: looking at what the other packages need (database, roles, storage, engine, Airflow, versions, clock) and
one sentence per fault that says what to do. Does not: fixing it, or judging data (quality).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wayfare.doctor import airflow, machine, postgres, spark
from wayfare.doctor.findings import Finding, failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings

__all__ = ["Finding", "examine"]


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as it is made. Raises nothing: what goes wrong is a finding."""
    for part in (postgres, machine, spark, airflow):
        try:
            yield from part.examine(settings)
        except Exception as error:  # noqa: BLE001  # a check that fails to run is a finding, too
            name = part.__name__.rpartition(".")[2]
            yield failed(name, f"the check failed: {type(error).__name__}: {error}", "fix what it names")
