"""One DAG per registered analysis. To add one, add a file to `include/wayfare/analyses/`; nothing changes here."""

from __future__ import annotations

from airflow.sdk import get_parsing_context

from wayfare.analyses.registry import analyses
from wayfare_airflow.factory import build_dag

wanted = get_parsing_context().dag_id  # a task's, which parses this file for its own DAG alone

for name, analysis in analyses().items():
    if wanted in {None, name}:
        build_dag(analysis)
