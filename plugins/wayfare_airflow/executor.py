"""The executor of an installation on one machine: Airflow's own, with what tasks import already imported."""

from __future__ import annotations

from importlib import import_module

from airflow.executors.local_executor import LocalExecutor


class PreloadedLocalExecutor(LocalExecutor):
    """Runs tasks in forks of this process, each of which finds Great Expectations, pandas and DuckDB imported."""

    def start(self) -> None:
        """Import what tasks need, then fork the workers."""
        import_module("wayfare_airflow.preloaded")
        super().start()
