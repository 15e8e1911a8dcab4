"""The engines: day files in, one result file out; DuckDB within the memory and threads of the settings, or Spark.

Belongs here: sessions, the frames an analysis is given, exchange rates, and running an analysis. Does not: writing day
files (snapshots), judging (quality) or publishing (marts).
"""

from wayfare.engines.frames import inputs
from wayfare.engines.results import analyze
from wayfare.engines.sessions import session

__all__ = ["analyze", "inputs", "session"]
