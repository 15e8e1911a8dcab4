"""One DAG per registered analysis. To add one, add a file to `include/wayfare/analyses/`; nothing changes here."""

from __future__ import annotations

from wayfare.analyses.registry import analyses
from wayfare_airflow.factory import build_dag

for analysis in analyses().values():
    build_dag(analysis)
