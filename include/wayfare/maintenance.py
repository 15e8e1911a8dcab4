"""Removes what the pipeline no longer needs: hand-over folders, superseded day files, XComs, leftovers, old verdicts.

Everything removed can be made again from staging, except verdicts (`control.validation`) and XComs, which are only old;
the last verdict of each gate of an analysis is kept. The change log is folded.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from wayfare import snapshots
from wayfare.errors import ConfigurationError
from wayfare.staging.database import transaction
from wayfare.staging.folding import fold
from wayfare.storage import files, filesystem, remove, remove_files, sweep

if TYPE_CHECKING:
    from wayfare.settings import Settings

_PRUNE_VERDICTS = text("""
DELETE FROM control.validation WHERE judged_at < :before AND (analysis, gate, chunk) NOT IN (
  SELECT DISTINCT ON (analysis, gate) analysis, gate, chunk FROM control.validation
  ORDER BY analysis, gate, validation_id DESC
)
""")


RUN_DAYS = 3
"""Days after which no planned run is still at work: a chunk takes less even if each of its tasks hangs until it is
given up. What a later run has superseded goes then: each run on a day in progress leaves a day file, and its work."""


def prune(settings: Settings, *, keep_days: int) -> dict[str, int]:
    """Remove what has not been needed for `keep_days` days, and fold the change log up to `RUN_DAYS` ago.

    Returns `files` and `verdicts` removed, and `changes`, the rows by which the change log is shorter.

    Superseded day files, and what the tasks of a run that a later one has superseded handed each other, are kept for
    `RUN_DAYS` at most. A run must not last longer than `keep_days`: its files would go while it works. Airflow removes
    an XCom's file when the task runs again, and forgets it with the run.

    Raises
    ------
    ConfigurationError
        `keep_days` is below 1.
    ServiceError
        PostgreSQL or the storage does not answer.
    """
    if keep_days < 1:
        raise ConfigurationError(f"keep_days is {keep_days}; keep at least 1 day, or a running chunk loses its files")
    now = dt.datetime.now(dt.UTC)
    before, run_before = (now - dt.timedelta(days=days) for days in (keep_days, min(keep_days, RUN_DAYS)))
    storage = settings.storage
    removed = sweep(storage) + _prune_work(storage, before, run_before) + _prune_xcoms(storage, before)
    removed += _prune_superseded(settings, run_before)
    with transaction(settings.url("pipeline")) as connection:
        verdicts = connection.execute(_PRUNE_VERDICTS, {"before": before}).rowcount
    changes = fold(settings.url("pipeline"), run_before)
    return {"files": removed, "verdicts": verdicts, "changes": changes}


def _prune_work(storage: str, before: dt.datetime, run_before: dt.datetime) -> int:
    """Files that tasks of one chunk handed each other, the folder as a whole once its last file is old.

    An analysis has one run at a time, whose chunks are all planned through one batch: a chunk is over once there is one
    planned through a later batch. In a long backfill, which none supersedes meanwhile, a chunk may wait for days.
    """
    url = f"{storage}/work"
    folders = _by_folder(url)
    written = {folder: max(found.values()) for folder, found in folders.items()}
    runs = {folder: _run(folder.removeprefix(f"{url}/")) for folder, at in written.items() if at < run_before}
    last = dict(sorted(runs.values()))
    old = [f for f, (analysis, batch) in runs.items() if written[f] < before or batch < last[analysis]]
    for folder in old:
        remove(folder)
    return sum(len(folders[folder]) for folder in old)


def _prune_superseded(settings: Settings, before: dt.datetime) -> int:
    """Day files whose successor is old too: nothing planned since would read them, unless a run was started again.

    A successor is written later and of no earlier batch; one of a later batch that was written before is of a run that
    was started again, or of a database in whose place another was restored. What such a database left may seem to
    supersede a day's current file, which stays.
    """
    storage = settings.storage
    _, root = filesystem(storage)
    current = {file.url(root) for file in snapshots.current(settings)}
    superseded = []
    for written in _by_folder(f"{storage}/snapshots", ".parquet").values():
        old = [(at, _batch(path), path) for path, at in written.items() if at < before]
        newest = 0
        for _, batch, path in sorted(old, reverse=True):
            if batch <= newest and path not in current:
                superseded.append(path)
            newest = max(newest, batch)
    return remove_files(storage, superseded)


def _prune_xcoms(storage: str, before: dt.datetime) -> int:
    """What Airflow's XCom backend keeps out of its database, where it is configured to (docker-compose.yaml)."""
    return remove_files(storage, [path for path, at in files(f"{storage}/xcom").items() if at < before])


def _by_folder(url: str, ending: str = "") -> dict[str, dict[str, dt.datetime]]:
    """The same as `files`, by the URL of the folder they are in."""
    _, root = filesystem(url)
    folders: dict[str, dict[str, dt.datetime]] = defaultdict(dict)
    for path, written_at in files(url, ending).items():
        folders[url + path.removeprefix(root).rpartition("/")[0]][path] = written_at
    return folders


def _run(path: str) -> tuple[str, int]:
    """The analysis and the batch that a chunk was planned through, from its folder in `work`."""
    analysis, key = path.split("/")[:2]
    return analysis, int(key.split("_")[2])


def _batch(path: str) -> int:
    return int(path.rpartition("/")[2].partition(".")[0].partition("-")[0])
