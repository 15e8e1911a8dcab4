"""Removes what the pipeline no longer needs: hand-over folders, superseded day files, leftovers, old verdicts.

Everything removed can be made again from staging, except verdicts (`control.validation`), which are only old.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from wayfare.errors import ConfigurationError
from wayfare.staging import database
from wayfare.staging.tables import validation
from wayfare.storage import filesystem, sweep

if TYPE_CHECKING:
    from wayfare.settings import Settings


def prune(settings: Settings, *, keep_days: int) -> dict[str, int]:
    """Remove what has not been needed for `keep_days` days; returns `files` and `verdicts` removed.

    A run must not last longer than `keep_days`: its files would go while it works.

    Raises
    ------
    ConfigurationError
        `keep_days` is below 1.
    """
    if keep_days < 1:
        raise ConfigurationError(f"keep_days is {keep_days}; keep at least 1 day, or a running chunk loses its files")
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=keep_days)
    storage = settings.storage
    removed = sweep(storage) + _prune_work(storage, before) + _prune_superseded(storage, before)
    with database.engine(settings.url("pipeline")).begin() as connection:
        verdicts = connection.execute(delete(validation).where(validation.c.judged_at < before)).rowcount
    return {"files": removed, "verdicts": verdicts}


def _prune_work(storage: str, before: dt.datetime) -> int:
    """Files that tasks of one chunk handed each other, the folder as a whole once its last file is old."""
    fs, root = filesystem(f"{storage}/work")
    folders = _by_folder(fs, root)
    old = {folder: files for folder, files in folders.items() if max(files.values()) < before}
    for folder in old:
        fs.rm(folder, recursive=True)
    return sum(len(files) for files in old.values())


def _prune_superseded(storage: str, before: dt.datetime) -> int:
    """Day files whose successor is old too: nothing planned since would read them."""
    fs, root = filesystem(f"{storage}/snapshots")
    removed = 0
    for files in _by_folder(fs, root).values():
        versions = sorted((path for path in files if path.endswith(".parquet")), key=_batch)
        for path, successor in pairwise(versions):
            if files[successor] < before:
                fs.rm_file(path)
                removed += 1
    return removed


def _by_folder(fs: Any, root: str) -> dict[str, dict[str, dt.datetime]]:
    """Files below `root` with the time they were written, by the folder they are in."""
    folders: dict[str, dict[str, dt.datetime]] = defaultdict(dict)
    for path in fs.find(root):
        folders[path.rpartition("/")[0]][path] = fs.modified(path).astimezone(dt.UTC)
    return folders


def _batch(path: str) -> int:
    return int(path.rpartition("/")[2].partition(".")[0])
