"""Files at a path or an fsspec URL: the few operations the pipeline needs.

Belongs here: existence, listing, atomic writing, sweeping up. Does not: what the files hold or what they are called.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
from typing import TYPE_CHECKING, Any

from wayfare.errors import ConfigurationError, ServiceError, WayfareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ABANDONED = dt.timedelta(days=1)
"""Age at which a temporary file cannot belong to a writer still at work."""


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path within it.

    Raises
    ------
    ConfigurationError
        The URL has a character that makes a pattern of it.
    """
    import fsspec  # imported late: landing takes a constant from here, and no file

    # other processes write there too, and a kept listing would hide it
    fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    if "file" not in fs.protocol and set(path) & set("*?["):  # DuckDB and fsspec take it for a pattern
        raise ConfigurationError(f"{url}: WAYFARE_STORAGE_URL of an object store must not contain *, ? or [")
    return fs, path


@contextlib.contextmanager
def _as_service_error(url: str) -> Iterator[None]:
    """Turns any error of a storage (each kind has its own) into ServiceError; FileNotFoundError passes."""
    try:
        yield
    except (FileNotFoundError, WayfareError):
        raise
    except Exception as error:
        raise ServiceError(f"the storage failed at {url}: {error}; `wayfare doctor` checks it") from error


def is_local(url: str) -> bool:
    """Whether a path or URL is on this machine's own filesystem."""
    return "file" in filesystem(url)[0].protocol


def exists(url: str) -> bool:
    """Whether a file is there.

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    with _as_service_error(url):
        fs, path = filesystem(url)
        return bool(fs.exists(path))


def read_text(url: str) -> str:
    """The text of a file.

    Raises
    ------
    FileNotFoundError
        It is not there.
    ServiceError
        The storage does not answer.
    """
    with _as_service_error(url):
        fs, path = filesystem(url)
        return str(fs.cat_file(path).decode())


def files(url: str, ending: str = "") -> dict[str, dt.datetime]:
    """Every file below a path or URL with that ending, as `filesystem` names it, and the time it was written (UTC).

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    found: dict[str, dt.datetime] = {}
    with _as_service_error(url):
        fs, path = filesystem(url)
        try:
            listed = fs.find(path, detail=True)
        except FileNotFoundError:  # not even the bucket is there: the first file written makes it
            listed = {}
        for file, details in listed.items():
            if file.endswith(ending):
                with contextlib.suppress(FileNotFoundError):  # somebody has just removed it
                    written_at = details.get("LastModified") or fs.modified(file)  # S3 lists it; asking is a request
                    found[file] = written_at.astimezone(dt.UTC)
    return found


def children(folder: str) -> list[str]:
    """The files in a folder, in order, as URLs of the same kind as `folder`.

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    with _as_service_error(folder):
        fs, path = filesystem(folder)
        return [f"{folder}/{found.rpartition('/')[2]}" for found in sorted(fs.ls(path, detail=False))]


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, if it is there.

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    with _as_service_error(folder):
        fs, path = filesystem(folder)
        if fs.exists(path):
            with contextlib.suppress(FileNotFoundError):  # somebody else removes it, too
                fs.rm(path, recursive=True)


def remove_files(url: str, paths: Iterable[str]) -> int:
    """Remove files below `url`, each named as `files` names it; returns how many. One that is gone is passed over.

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    removed = 0
    with _as_service_error(url):
        fs, _ = filesystem(url)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
                fs.rm_file(path)
                removed += 1
    return removed


def write_atomic(url: str, write: Callable[[str], None], *, replace: bool = True) -> None:
    """Let `write` fill a temporary file beside `url`, then move it into place; a failure leaves nothing behind.

    `write` gets a URL of the same kind as `url`. Two writers of the same content-addressed file may race: without
    `replace` one that finds the other's leaves it. If both move at once the later one's stays, and who reads the
    other's on an object store gets an error (`engines.asked_once`). A writer that is killed leaves its temporary file,
    which nothing reads, to `sweep`.

    Raises
    ------
    ServiceError
        The storage does not answer. What goes wrong in `write` is raised as it is.
    """
    with _as_service_error(url):
        fs, path = filesystem(url)
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    temporary = f"{url}.{secrets.token_hex(6)}.tmp"
    _, filled = filesystem(temporary)
    try:
        write(temporary)
        with _as_service_error(url):
            if replace or not fs.exists(path):
                _move(fs, filled, path)
            else:
                fs.rm_file(filled)
    except BaseException:
        with contextlib.suppress(Exception):  # report what went wrong, and not that the storage is away by now
            if fs.exists(filled):
                fs.rm(filled)
        raise


def _move(fs: Any, path: str, to: str) -> None:
    if "s3" in fs.protocol:  # which renames nothing; `mv` would first ask what `path` may be
        fs.cp_file(path, to)
        fs.rm_file(path)
        return
    if "file" in fs.protocol:  # otherwise a machine that loses power may keep the name and not the content
        with open(path, "rb") as file:  # noqa: PTH123  # fsspec's own path
            os.fsync(file.fileno())
    fs.mv(path, to)


def sweep(url: str) -> int:
    """Remove the temporary files below `url` that a killed writer left over a day ago; returns how many.

    Raises
    ------
    ServiceError
        The storage does not answer.
    """
    oldest = dt.datetime.now(dt.UTC) - ABANDONED
    return remove_files(url, [file for file, written_at in files(url, ".tmp").items() if written_at < oldest])
