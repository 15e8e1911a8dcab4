"""Landing files: read, decode and stage, the next batch decoded while PostgreSQL works on this one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, cycle
from typing import TYPE_CHECKING

from wayfare.errors import WayfareError
from wayfare.landing import sources
from wayfare.landing.decode import Decoder, decoders
from wayfare.staging.batches import Stager
from wayfare.staging.incoming import Incoming, Landed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wayfare.contracts import EventType
    from wayfare.landing.lines import Lines
    from wayfare.settings import Settings

_GRACE = 3.0
"""Seconds that a read in progress has to end once landing is given up: standard input may never bring more."""


def land(
    settings: Settings,
    files: Sequence[str],
    *,
    format: str | None = None,  # noqa: A002  # what the command line calls it
    progress: Callable[[int], None] | None = None,
    contracts: Sequence[EventType] | None = None,
) -> Landed:
    """Land files (`-` is standard input) and say what became of their lines; landing them again changes nothing.

    `progress` is called with the bytes of each read, compressed where the file is. `contracts` default to all.

    Raises
    ------
    DataError
        A file is missing, damaged or not of its format; batches before that are staged.
    ServiceError
        PostgreSQL does not answer; land the same input again to continue.
    """
    for source in files:
        sources.require(source)
        sources.format_of(source, format)
    with decoders(settings, contracts) as decoding, Stager(settings) as stager:
        rows, spill = settings.landing_rows, settings.spill_dir
        read = (sources.read(source, format, rows, progress, spill=spill) for source in files)
        runs = chain.from_iterable(read)
        return stage_all(stager, runs, decoding)


def stage_all(stager: Stager, runs: Iterable[Lines], decoding: Sequence[Decoder], *, replayed: bool = False) -> Landed:
    """Stage every run of lines in order; the next ones are read and decoded, one by each decoder, meanwhile.

    Staging is the longest part: this thread does nothing else, so that PostgreSQL never waits for a file.
    """
    landed, ahead = Landed(), iter(runs)
    pending: deque[tuple[Future[Lines | None], Future[Incoming | None]]] = deque()
    reader, *workers = pools = [ThreadPoolExecutor(1, name) for name in ("read", *["decode"] * len(decoding))]
    turns = cycle(zip(decoding, workers, strict=True))

    def begin() -> None:
        read = reader.submit(next, ahead, None)
        decode, worker = next(turns)
        pending.append((read, worker.submit(lambda: None if (lines := read.result()) is None else decode(lines))))

    try:
        for _ in range(len(decoding) + 1):
            begin()
        while incoming := pending[0][1].result():
            pending.popleft()
            begin()
            landed += stager.stage(incoming, replayed=replayed).landed
    except WayfareError as error:
        if landed.landed:
            error.add_note(
                f"{landed.landed:,} events before that are staged; landing the same input again continues there"
            )
        raise
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        wait([read for read, _ in pending if not read.done()], timeout=_GRACE)
        wait([decoded for read, decoded in pending if read.done() and not decoded.done()])
    return landed
