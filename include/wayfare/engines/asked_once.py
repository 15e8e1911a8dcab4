"""What a DuckDB session reads an object store through."""

from __future__ import annotations

import datetime as dt
from typing import Any

import fsspec


class AskedOnce(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store as one DuckDB session sees it: asks about each file once.

    DuckDB itself asks four times with every query it plans, and planning an analysis is hundreds of queries. What a
    session reads was whole before it began; one that is written again meanwhile is not read on: DuckDB would put the
    columns that it has together with others of the new one, in which a day's rows have another order.
    """

    cachable = False

    def __init__(self, store: Any) -> None:
        super().__init__()
        self.protocol = store.protocol
        self._store = store
        self._known: dict[str, dict[str, Any]] = {}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What the store says of a file; for its size and whether it is there."""
        if path not in self._known:
            self._known[path] = self._store.info(path)
        return self._known[path]

    def modified(self, path: str) -> dt.datetime:  # noqa: ARG002
        """Always the same: DuckDB keeps what it read for as long as this stays, and takes 1970 for unknown."""
        return dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

    def open(self, path: str, mode: str = "rb", **how: Any) -> Any:
        """A file to read or write; one to read need not ask for its details again."""
        if mode != "rb":
            return self._store.open(path, mode, **how)
        details = self.info(path)
        file = self._store.open(path, mode, size=details["size"], **how)
        file.details = details
        if "ETag" in details:  # where s3fs asks for the details, it does this by itself
            file.read_kw = {**file.read_kw, "IfMatch": details["ETag"]}
        return file
