"""The two gates: what may be analyzed, and what may be published.

Belongs here: suites, verdicts, quarantine and Data Docs pages. Does not: the rules of landing (contracts) or what an
analysis expects (its own file). Great Expectations is imported when a gate runs, never when this package is.
"""

from wayfare.quality.gates import audit, validate
from wayfare.quality.suites import check

__all__ = ["audit", "check", "validate"]
