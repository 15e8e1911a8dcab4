"""Serving the application: one process, uvicorn, until it is to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import uvicorn

from wayfare.collector.app import application
from wayfare.errors import WayfareError, ZoneError
from wayfare.landing.brokers import broker_url
from wayfare.staging import database

if TYPE_CHECKING:
    from wayfare.settings import Settings

GRACE_SECONDS = 30
"""How long requests under way may take once it is to stop; what was accepted is finished after that."""

_CONNECTIONS = 1_000

_log = logging.getLogger(__name__)


def serve(settings: Settings, host: str, port: int) -> None:
    """Collect events on `host`:`port`; SIGTERM answers what was accepted, then ends.

    Raises
    ------
    ConfigurationError
        WAYFARE_QUEUE_URL is not the URL of a broker, or no database is configured.
    ZoneError
        The database was filled with days of another zone.
    """
    if settings.queue_url is not None:
        broker_url(settings)
    url = settings.url("landing")
    try:
        database.check(url, settings.timezone)
    except ZoneError:
        raise
    except WayfareError as error:  # which may pass
        _log.warning("%s", error)
    uvicorn.run(
        application(settings),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
