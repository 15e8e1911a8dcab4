"""The console that commands print tables on."""

from __future__ import annotations

from rich.console import Console


def wide(*, highlight: bool = True) -> Console:
    """Standard output as wide as the terminal, or wide enough for any table where it is not one."""
    console = Console(highlight=highlight)
    if not console.is_terminal:
        console.width = 160
    return console
