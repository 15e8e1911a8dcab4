"""Serving the application: one process, uvicorn, until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from wayfare.collector.app import application
from wayfare.landing.brokers import broker_url

if TYPE_CHECKING:
    from wayfare.settings import Settings

GRACE_SECONDS = 30
"""How long requests under way may take once it is told to stop; what was accepted is finished after that."""

_CONNECTIONS = 1_000


def serve(settings: Settings, host: str, port: int) -> None:
    """Collect events on `host`:`port`; SIGTERM answers what was accepted, then ends.

    Raises
    ------
    ConfigurationError
        WAYFARE_QUEUE_URL is no URL of a broker.
    """
    if settings.queue_url is not None:
        broker_url(settings)
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
