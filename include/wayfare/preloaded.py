"""What every task imports, imported once: whoever imports this and then forks saves each task several seconds.

Airflow's tasks are forks of a worker. A Celery worker imports this module as it starts (`imports` of its
configuration), the executor of one machine before it forks its workers (`wayfare_airflow.executor`).
"""

from importlib import import_module

from wayfare.quality.context import great_expectations

_MODULES = (
    "duckdb_sqlalchemy",
    "great_expectations.render.renderer.page_renderer",
    "great_expectations.render.view.view",
    "narwhals._arrow.dataframe",
    "narwhals._duckdb.dataframe",
    "psycopg",
    "tzdata",
    "wayfare.engines",
    "wayfare.marts",
    "wayfare.quality.docs",
    "wayfare.quality.events",
    "wayfare.quality.output",
    "wayfare.quality.records",
    "wayfare.snapshots",
)

great_expectations()  # before its own modules: it hides pyspark from them
for _name in _MODULES:
    import_module(_name)
