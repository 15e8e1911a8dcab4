"""Files at a path or an fsspec URL: the few operations the pipeline needs.

Belongs here: joining, existence, atomic writing. Does not: what the files hold or what they are called.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import fsspec

if TYPE_CHECKING:
    from collections.abc import Callable


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path within it."""
    fs, path = fsspec.core.url_to_fs(url)
    return fs, path


def exists(url: str) -> bool:
    """Whether a file is there."""
    fs, path = filesystem(url)
    return bool(fs.exists(path))


def write_atomic(url: str, write: Callable[[str], None]) -> None:
    """Let `write` fill a temporary file beside `url`, then move it into place; a failure leaves nothing behind.

    `write` gets a URL of the same kind as `url`. Two writers of the same content-addressed file may race: either wins.
    """
    fs, path = filesystem(url)
    fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    temporary = f"{url}.{secrets.token_hex(6)}.tmp"
    try:
        write(temporary)
        fs.mv(filesystem(temporary)[1], path)
    except BaseException:
        _, leftover = filesystem(temporary)
        if fs.exists(leftover):
            fs.rm(leftover)
        raise
