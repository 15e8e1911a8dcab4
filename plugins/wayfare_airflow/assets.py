"""The assets: what triggers an analysis, and what it updates."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from wayfare_airflow.watcher import StagingTrigger

STAGING = Asset(
    name="staging",
    uri="wayfare://staging",
    watchers=[AssetWatcher(name="new_batches", trigger=StagingTrigger())],  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
)
"""The staged events; updated by its watcher, however a batch landed."""


def mart_asset(analysis: str) -> Asset:
    """The mart of an analysis, updated by each publication: schedule your own DAG on it."""
    return Asset(name=f"mart_{analysis}", uri=f"wayfare://marts/{analysis}")
