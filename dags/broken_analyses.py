"""Shows analyses that are left out among Airflow's import errors, while the DAGs of all others go on."""

from __future__ import annotations

from wayfare.analyses.registry import broken
from wayfare.errors import DeclarationError

if failures := broken():
    raise DeclarationError("\n".join(f"{where}: {why}" for where, why in failures.items()))
