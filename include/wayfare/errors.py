"""The exceptions Wayfare raises on purpose, and how their messages help with a wrong name.

Each message is for the person who must act: what is wrong, where (file, line, field, event_id) and what to do.
What matters to a caller: `ServiceError` may pass, so it is retried; every other kind gives the same answer again.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LISTED = 100
"""Names listed in a message."""

_COMPARED = 100
"""Characters of a name that is compared with others; a longer one is not."""


class WayfareError(Exception):
    """Base of every exception Wayfare raises on purpose."""


class ConfigurationError(WayfareError):
    """A setting is missing, malformed or contradicts what the installation was created with."""


class ZoneError(ConfigurationError):
    """WAYFARE_TIMEZONE is not the zone that the database's days were made in, and will not come to be."""


class DeclarationError(WayfareError):
    """A contract, an analysis or a mapping is declared wrongly; names the file, the field and what to write instead."""


class DataError(WayfareError):
    """The data is at fault: a retry gives the same answer, so nothing retries it."""


class GateError(DataError):
    """A gate refused its input or its result; nothing was published."""


class ServiceError(WayfareError):
    """Something outside (database, storage, process) did not answer; a retry may help."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the one that was meant, or those there are, of many the first.

    What is not text, or long, is compared with nothing: it comes from events, too, and comparing takes its time.

    >>> nearest("bookng", ["booking", "search"]), nearest("?", ["booking", "search"])
    ("; did you mean 'booking'?", '; known: booking, search')
    >>> nearest("x" * 101, ["x" * 100]) == "; known: " + "x" * 100
    True
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1) if isinstance(name, str) and len(name) <= _COMPARED else []
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"; known: {', '.join(names[:_LISTED])}{more}"
