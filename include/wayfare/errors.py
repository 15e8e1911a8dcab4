"""The exceptions Wayfare raises on purpose.

Each message is for the person who must act: what is wrong, where (file, line, field, event_id) and what to do.
The split that matters to a caller is between `DataError`, which a retry cannot mend, and `ServiceError`, which it can.
"""

from __future__ import annotations


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
