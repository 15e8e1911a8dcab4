"""What every task imports, imported once: whoever imports this and then forks saves each task several seconds.

Airflow's tasks are forks of a worker. A Celery worker imports this module as it starts (`imports` of its
configuration), the executor of one machine before it forks its workers (`wayfare_airflow.executor`). The analyses are
not in it: a task imports them as they are by then.
"""

from importlib import import_module

from wayfare.contracts import reference
from wayfare.quality.context import great_expectations

_MODULES = (
    "airflow.dag_processing.dagbag", "duckdb_sqlalchemy", "psycopg", "tzdata", "wayfare.engines", "wayfare.marts",
    "wayfare.quality.events", "wayfare_airflow.factory",
)  # fmt: skip
"""Beside Great Expectations, with all that they import."""

great_expectations()
for _name in _MODULES:
    import_module(_name)
reference.places()  # parsed once, too
