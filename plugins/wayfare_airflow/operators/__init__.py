"""The operators, one per file and each usable on its own in anybody's DAG.

Belongs here: handing a chunk to its step and the summary to XCom. Does not: the steps themselves.
"""

from wayfare_airflow.operators.analyze import AnalyzeOperator
from wayfare_airflow.operators.audit import AuditOperator
from wayfare_airflow.operators.extract import ExtractOperator
from wayfare_airflow.operators.plan import PlanOperator
from wayfare_airflow.operators.publish import PublishOperator
from wayfare_airflow.operators.validate import ValidateOperator

__all__ = [
    "AnalyzeOperator",
    "AuditOperator",
    "ExtractOperator",
    "PlanOperator",
    "PublishOperator",
    "ValidateOperator",
]
