"""Registers Wayfare's pages with Airflow; operators, links and the DAG factory are plain imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

from wayfare_airflow.links import PREFIX, page

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class Pages:
    """The pages' app, imported at the first request: every task loads the plugins, and none needs the pages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from wayfare_airflow.ui.app import app

        await app(scope, receive, send)


class WayfarePlugin(AirflowPlugin):
    """The pages under /wayfare, and their entry in the menu."""

    name = "wayfare"
    fastapi_apps = [{"app": Pages(), "url_prefix": PREFIX, "name": "Wayfare"}]  # noqa: RUF012 - declared so by Airflow
    external_views = [  # noqa: RUF012 - declared so by Airflow
        {"name": "Marts", "href": page("marts"), "destination": "nav", "url_route": "wayfare_marts"}
    ]
