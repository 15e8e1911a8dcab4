"""Who may send events: a token each, of which only the digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from wayfare.contracts import EVENT_TYPES
from wayfare.errors import DataError
from wayfare.staging.database import transaction
from wayfare.staging.tables import producer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Executable

    from wayfare.settings import Role, Settings

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_PREFIX = "wf_"


@dataclass(frozen=True, slots=True)
class Producer:
    """A system that sends events: `name` is their `source`, `event_types` what they may be."""

    name: str
    token_digest: bytes
    event_types: frozenset[str]
    events_per_second: int
    added_at: dt.datetime
    revoked_at: dt.datetime | None


def add(settings: Settings, name: str, event_types: Iterable[str], events_per_second: int) -> str:
    """Add a producer, also one that was revoked; returns its token, of which only a digest is kept.

    Raises
    ------
    DataError
        The name is malformed or taken, or an event type is unknown.
    ServiceError
        PostgreSQL does not answer.
    """
    types = sorted(set(event_types))
    if not _NAME.fullmatch(name):
        raise DataError(f"producer {name!r}: a name is 1 to 63 of a-z, 0-9, _ . and -, like web or agent-desk")
    known = {e.type for e in EVENT_TYPES.values()}
    if not types or not known.issuperset(types):
        wrong = next((f"{t} is not an event type" for t in types if t not in known), "no event type is given")
        raise DataError(f"producer {name}: {wrong}; choose from {', '.join(sorted(known))}")
    token = _PREFIX + secrets.token_urlsafe(32)
    values = {"token_digest": _digest(token), "event_types": types, "events_per_second": events_per_second}
    statement = insert(producer).values(name=name, **values)
    added = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={**values, "added_at": func.now(), "revoked_at": None},
        where=producer.c.revoked_at.is_not(None),
    ).returning(producer.c.name)
    if not _rows(settings, "owner", added):
        raise DataError(f"producer {name} exists; revoke it first to give it another token or other event types")
    return token


def revoke(settings: Settings, name: str) -> None:
    """Refuse a producer's token from now on.

    Raises
    ------
    DataError
        There is no such producer.
    ServiceError
        PostgreSQL does not answer.
    """
    statement = producer.update().where(producer.c.name == name, producer.c.revoked_at.is_(None))
    if not _rows(settings, "owner", statement.values(revoked_at=func.now()).returning(producer.c.name)):
        raise DataError(f"no producer {name} to revoke; see `wayfare producer list`")


def listed(settings: Settings) -> list[Producer]:
    """All producers by name, the revoked ones too.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    rows = _rows(settings, "landing", select(producer).order_by(producer.c.name))
    return [Producer(**{**row, "event_types": frozenset(row["event_types"])}) for row in rows]


def holder(producers: Sequence[Producer], token: str) -> Producer | None:
    """The producer whose token it is; the time it takes does not show how near a wrong token came."""
    digest = _digest(token)
    held = None
    for known in producers:
        if hmac.compare_digest(known.token_digest, digest) and known.revoked_at is None:
            held = known
    return held


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _rows(settings: Settings, role: Role, statement: Executable) -> list[dict[str, Any]]:
    with transaction(settings.url(role)) as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
