"""Registers Wayfare's pages with Airflow; operators, links and the DAG factory are plain imports."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from wayfare_airflow.links import PREFIX
from wayfare_airflow.ui.app import app


class WayfarePlugin(AirflowPlugin):
    """The pages under /wayfare, and their entry in the menu."""

    name = "wayfare"
    fastapi_apps = [{"app": app, "url_prefix": PREFIX, "name": "Wayfare"}]  # noqa: RUF012 - declared so by Airflow
    external_views = [  # noqa: RUF012 - declared so by Airflow
        {"name": "Marts", "href": f"{PREFIX}/marts", "destination": "nav", "url_route": "wayfare_marts"}
    ]
