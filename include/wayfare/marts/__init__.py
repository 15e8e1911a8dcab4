"""The marts: what is stale, how a result is published, and how BI tools see it.

Belongs here: fingerprints, staleness, tables and views of marts, publishing, status. Does not: computing a
result (engines) or judging one (quality).
"""

from wayfare.marts.publish import publish
from wayfare.marts.staleness import plan
from wayfare.marts.status import status

__all__ = ["plan", "publish", "status"]
