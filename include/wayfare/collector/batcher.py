"""Gathers the requests of a moment into batches: one commit for many, the next batch decoded meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Self

from wayfare.collector.sinks import Prepared, Preparer, QueueSink, Sink, StagingSink
from wayfare.errors import WayfareError
from wayfare.landing.messages import events_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wayfare.collector.producers import Producer
    from wayfare.landing.messages import Outcome, RawEvent
    from wayfare.settings import Settings

_BATCH_EVENTS = 2_000
_LINGER_SECONDS = 0.005
_FAILING_SECONDS = 30.0
"""For how long a failure is remembered: a balancer that sends no more requests must learn that it may try again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    producer: Producer
    events: list[RawEvent]
    done: asyncio.Future[list[Outcome]]


class Batcher:
    """Batches of one producer each, in the order in which their first request came; an async context manager.

    `observe` is called with the events and the seconds of each batch.
    """

    def __init__(self, settings: Settings, observe: Callable[[int, float], None]) -> None:
        self._settings = settings
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._decoding = ThreadPoolExecutor(1, "decode")
        self._sinking = ThreadPoolExecutor(1, "sink")
        self._closing = False
        self._failed_at: float | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._prepare = await loop.run_in_executor(self._decoding, Preparer, self._settings)
        sink = QueueSink if self._settings.queue_url else StagingSink
        self._sink: Sink = sink(self._settings)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what was accepted, then close."""
        self._closing = True
        self._arrived.set()
        await self._task
        self._decoding.shutdown()
        self._sinking.shutdown()
        self._prepare.close()
        self._sink.close()

    async def split(self, body: bytes, content_type: str, most: int) -> list[RawEvent]:
        """The first events of a body; in the thread that decodes, since a damaged array takes long to come apart."""
        first = islice(events_of(body, content_type, most), most)
        return await asyncio.get_running_loop().run_in_executor(self._decoding, list, first)

    async def submit(self, producer: Producer, events: list[RawEvent]) -> list[Outcome]:
        """What became of each event, once it is durable.

        Raises
        ------
        ServiceError
            It could not be made durable; the same may be sent again.
        """
        job = _Job(producer, events, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        return await asyncio.shield(job.done)

    def is_failing(self) -> bool:
        """Whether events could not be made durable a moment ago, and none were since."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < _FAILING_SECONDS

    async def _run(self) -> None:
        answering: asyncio.Task[None] | None = None
        while jobs := await self._next():
            prepared = await self._prepared(jobs)
            if answering:
                await answering
            answering = asyncio.create_task(self._answer(jobs, prepared)) if prepared else None
        if answering:
            await answering

    async def _next(self) -> list[_Job]:
        """The oldest request and what else its producer has sent meanwhile; nothing once we are closing."""
        await self._arrived.wait()
        if not self._closing:
            await asyncio.sleep(_LINGER_SECONDS)
        taken, left, count = list[_Job](), deque[_Job](), 0
        for job in self._jobs:
            same = not taken or job.producer.name == taken[0].producer.name
            if same and (not taken or count + len(job.events) <= _BATCH_EVENTS):
                taken.append(job)
                count += len(job.events)
            else:
                left.append(job)
        self._jobs = left
        if not left and not self._closing:
            self._arrived.clear()
        return taken

    async def _prepared(self, jobs: list[_Job]) -> Prepared | None:
        events = [event for job in jobs for event in job.events]
        call = partial(self._prepare, jobs[0].producer, events)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoding, call)
        except Exception as error:  # noqa: BLE001  # whatever it is, every request must be answered
            _fail(jobs, error)
            return None

    async def _answer(self, jobs: list[_Job], prepared: Prepared) -> None:
        begun = time.monotonic()
        try:
            outcomes = iter(await asyncio.get_running_loop().run_in_executor(self._sinking, self._sink, prepared))
        except Exception as error:  # noqa: BLE001  # whatever it is, every request must be answered
            if isinstance(error, WayfareError):  # anything else may be of these events alone
                self._failed_at = time.monotonic()
            _fail(jobs, error)
            return
        if prepared.events:
            self._failed_at = None
        self._observe(prepared.count, time.monotonic() - begun)
        for job in jobs:
            job.done.set_result(list(islice(outcomes, len(job.events))))


def _fail(jobs: list[_Job], error: Exception) -> None:
    """Answer every request of a batch with what went wrong; whoever sent it may be gone."""
    _log.error("a batch of %d requests failed: %s", len(jobs), error)
    for job in jobs:
        job.done.set_exception(error)
        job.done.exception()
