"""How connections to PostgreSQL are made: when one end is lost, the other notices within a minute.

Otherwise the server would hold the locks of a client whose machine is gone for hours. On Unix sockets none of this has
any effect.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import make_url

from wayfare.errors import ConfigurationError

PREAMBLE = """
SET TIME ZONE 'UTC';
SET tcp_keepalives_idle = 30;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3;
SET default_transaction_isolation = 'read committed';
"""
"""Statements with which every session begins; what waits for a lock reads what was committed meanwhile."""

_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def arguments(url: str) -> dict[str, Any]:
    """What a URL says, as the arguments of libpq, and `_OPTIONS` where it says nothing else.

    libpq is not given the URL: it reads fewer than SQLAlchemy does, and quotes what it cannot read, password included.

    Raises
    ------
    ConfigurationError
        The host begins within the password, and would be quoted where it is not found.
    """
    place = make_url(url).set(drivername="postgresql+psycopg")
    if "@" in (place.host or ""):
        raise ConfigurationError("a URL of PostgreSQL has more than one @: write %40 for one in a password")
    _, given = place.get_dialect()().create_connect_args(place)
    return {**_OPTIONS, **given, "client_encoding": "utf8"}  # which COPY is sent, whatever the environment says
