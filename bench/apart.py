"""Work in a process of its own, and the memory that a process took: what one measures is not mixed with the next."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_process(work: Callable[..., T], *arguments: object) -> T:
    """The work's result, from a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak(process: int | str = "self") -> float:
    """The most resident MB of a process so far; what `getrusage` says begins with what its parent took."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
