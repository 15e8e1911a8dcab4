"""Landing files: read, decode and stage, the next batch decoded while PostgreSQL works on this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from wayfare.errors import DataError
from wayfare.landing import sources
from wayfare.landing.decode import decoder
from wayfare.staging.batches import Stager
from wayfare.staging.incoming import Incoming, Landed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wayfare.contracts import EventType
    from wayfare.settings import Settings


def land(
    settings: Settings,
    files: Sequence[str],
    *,
    format: str | None = None,  # noqa: A002  # what the command line calls it
    progress: Callable[[int], None] | None = None,
    contracts: Sequence[EventType] | None = None,
) -> Landed:
    """Land files (`-` is standard input) and say what became of their lines; landing them again changes nothing.

    `progress` is told the number of bytes of each read, compressed where the file is. `contracts` default to all.

    Raises
    ------
    DataError
        A file is missing, damaged or not of its format; batches before that are staged.
    ServiceError
        PostgreSQL does not answer; land the same again to go on.
    """
    for source in files:
        if source != sources.STDIN and not Path(source).is_file():
            raise DataError(f"{source}: no such file")
        sources.format_of(source, format)
    with decoder(settings, contracts) as decode, Stager(settings) as stager:
        runs = (
            lines
            for source in files
            for lines in sources.read(source, format, settings.landing_rows, progress or (lambda _: None))
        )
        return stage_all(stager, (decode(lines) for lines in runs))


def stage_all(stager: Stager, batches: Iterable[Incoming], *, replayed: bool = False) -> Landed:
    """Stage every batch in order, the next one being made in another thread meanwhile."""
    landed, upcoming = Landed(), iter(batches)
    with ThreadPoolExecutor(1, "decode") as pool:
        pending = pool.submit(next, upcoming, None)
        while (incoming := pending.result()) is not None:
            pending = pool.submit(next, upcoming, None)
            landed += stager.stage(incoming, replayed=replayed)
    return landed
