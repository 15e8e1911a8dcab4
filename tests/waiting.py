"""Waiting for what other processes do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(
    holds: Callable[[], object],
    seconds: float = 60,
    told: Callable[[], object] = lambda: "it never came to hold",
    pause: float = 0.05,
) -> None:
    """Return once it holds, asking every `pause` seconds; fail with what is `told` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(pause)
