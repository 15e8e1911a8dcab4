"""The set of DAGs as agreed on; a deliberate change is written with WAYFARE_GOLDEN=write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

GOLDEN = Path(__file__).with_name("golden.json")


def test_dags_are_as_agreed(bag: DagBag) -> None:
    found = {dag_id: _outline(dag) for dag_id, dag in sorted(bag.dags.items())}
    if os.environ.get("WAYFARE_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text()), "if this is meant, run once with WAYFARE_GOLDEN=write"


def test_serialization_is_deterministic(bag: DagBag) -> None:
    from airflow.dag_processing.dagbag import DagBag as Bag

    again = Bag(bag.dag_folder)
    for dag_id, dag in bag.dags.items():
        assert _serialized(dag) == _serialized(again.dags[dag_id]), dag_id


def _outline(dag: DAG) -> dict[str, Any]:
    condition = getattr(dag.timetable, "asset_condition", None)
    return {
        "schedule": dag.timetable.__class__.__name__,
        "cron": getattr(getattr(dag.timetable, "timetable", dag.timetable), "expression", None),
        "triggers": [asset.uri for asset in condition.objects] if condition else [],
        "tasks": {
            task.task_id: {
                "operator": task.task_type,
                "mapped": task.get_closest_mapped_task_group() is not None,
                "downstream": sorted(task.downstream_task_ids),
                "outlets": [asset.uri for asset in task.outlets],
                "links": sorted(link.name for link in task.operator_extra_links),
            }
            for task in dag.tasks
        },
    }


def _serialized(dag: DAG) -> bytes:
    from airflow.serialization.serialized_objects import DagSerialization

    return json.dumps(DagSerialization.to_dict(dag)).encode()
