"""The HTTP application: `POST /v1/events`, `/health`, `/metrics` and `/openapi.json`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import text
from starlette.requests import ClientDisconnect

from wayfare.collector import producers
from wayfare.collector.batcher import Batcher
from wayfare.collector.limits import MAX_EVENTS, Bucket, Budget, Refusal, read_body
from wayfare.collector.metrics import Metrics
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import WayfareError
from wayfare.landing import brokers
from wayfare.landing.messages import LINES, Outcome, RawEvent, Status, media_type
from wayfare.staging.database import engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wayfare.collector.producers import Producer
    from wayfare.settings import Settings

BUDGET = 64 << 20
"""Bytes of all requests in flight; one producer may hold half."""

_REFRESH_SECONDS = 2.0
_BODY_SECONDS = 30.0
_HEALTH_SECONDS = 5.0
_JSON = "application/json"
_BEARER = HTTPBearer(auto_error=False, description="The token that `wayfare producer add` printed.")

_log = logging.getLogger(__name__)


class Result(BaseModel):  # `Outcome`, which is what is sent, for OpenAPI
    """What became of one event."""

    status: Status
    reason: str | None = None
    field: str | None = None
    message: str | None = None


class Answer(BaseModel):
    """What became of a request's events: counts, and one result for each event in the order in which they were sent."""

    landed: int
    duplicate: int
    conflict: int
    rejected: int
    queued: int
    results: list[Result]


class Problem(BaseModel):
    """Why a request was not looked at."""

    reason: str
    message: str


@dataclass
class _Collector:
    """What the requests of one process share."""

    settings: Settings
    budget: Budget
    metrics: Metrics
    batcher: Batcher
    producers: list[Producer] | None = None
    buckets: dict[str, Bucket] = field(default_factory=dict)

    async def refresh(self) -> None:
        """Learn again and again who may send; while the database does not answer, the last answer stands."""
        while True:
            try:
                self.producers = await asyncio.to_thread(producers.listed, self.settings)
            except Exception as error:  # noqa: BLE001  # whatever it is, a token may be revoked later
                _log.warning("producers are not refreshed: %s", error)
            await asyncio.sleep(_REFRESH_SECONDS)

    async def collect(self, request: Request, token: str | None) -> tuple[Producer, list[Outcome]]:
        """Take a request's events, and say what became of them.

        Raises
        ------
        Refusal
            The request is not looked at.
        """
        if self.producers is None:
            raise Refusal(503, "unavailable", "the producers are not loaded yet; send the request again", 5)
        producer = producers.holder(self.producers, token) if token else None
        if producer is None:
            raise Refusal(401, "bad_token", "send the token of `wayfare producer add` as `Authorization: Bearer TOKEN`")
        bucket = self._bucket(producer)
        bucket.check()
        with self.budget.reserve(producer.name) as reservation:
            content_type = request.headers.get("content-type", _JSON)
            if media_type(content_type) not in {*LINES, _JSON}:
                raise Refusal(415, "bad_content_type", f"send {_JSON}, or application/x-ndjson for one event per line")
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await read_body(request, reservation)
            except TimeoutError:
                raise Refusal(408, "too_slow", f"the body took more than {_BODY_SECONDS:.0f} s") from None
            except ClientDisconnect:
                raise Refusal(400, "cut_short", "the connection closed before the body was complete") from None
            events = await self.batcher.split(body, content_type, MAX_EVENTS + 1)
            bucket.spend(len(events))
            if not events:
                raise Refusal(400, "no_events", "the body holds no event")
            if len(events) > MAX_EVENTS:
                raise Refusal(413, "too_many", f"a request has at most {MAX_EVENTS:,} events; send several")
            return producer, await self._submit(producer, events)

    def _bucket(self, producer: Producer) -> Bucket:
        bucket = self.buckets.get(producer.name)
        if bucket is None or bucket.per_second != producer.events_per_second:
            bucket = self.buckets[producer.name] = Bucket(producer.events_per_second)
        return bucket

    async def _submit(self, producer: Producer, events: list[RawEvent]) -> list[Outcome]:
        try:
            return await self.batcher.submit(producer, events)
        except WayfareError as error:
            message = "the events could not be stored durably; send the request again, nothing is duplicated"
            raise Refusal(503, "unavailable", message, 5) from error


def application(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes what it works with."""
    budget = Budget(BUDGET)
    metrics = Metrics(budget)
    collector = _Collector(settings, budget, metrics, Batcher(settings, metrics.batched))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        refreshing = asyncio.create_task(collector.refresh())
        async with collector.batcher:
            yield
        refreshing.cancel()

    app = FastAPI(title="Wayfare collector", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.post("/v1/events", **_DOCUMENTED)
    async def events(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Response:
        """Send one event, an array of events, or one event per line; sending the same again changes nothing."""
        try:
            token = credentials.credentials if credentials else None
            response = _answer(metrics, *await collector.collect(request, token))
        except Refusal as refusal:
            response = _refused(refusal)
        metrics.answered(response.status_code)
        return response

    @app.get("/health", responses={503: {"description": "What makes events durable is away, or takes none."}})
    async def health() -> Response:
        """Whether events can be made durable now: by the queue where there is one, otherwise by the database.

        One that answers and did not take the last events is ill until it takes some, or half a minute has passed.
        """
        found = await _health(settings)
        durable = "queue" if settings.queue_url else "database"
        if found[durable] == "ok" and collector.batcher.is_failing():
            found[durable] = "does not take events"
        return Response(msgspec.json.encode(found), 200 if found[durable] == "ok" else 503, media_type=_JSON)

    @app.get("/metrics")
    async def figures() -> Response:
        """Figures in Prometheus's text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _answer(metrics: Metrics, producer: Producer, outcomes: list[Outcome]) -> Response:
    """200 where every event is accepted, 207 where some are not: `results` says which and why."""
    counts = Counter[str](outcome.status for outcome in outcomes)
    metrics.judged(producer.name, counts)
    body = {name: counts[name] for name in Answer.model_fields if name != "results"}
    code = 207 if counts["conflict"] or counts["rejected"] else 200
    return Response(msgspec.json.encode({**body, "results": outcomes}), code, media_type=_JSON)


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    problem = {"reason": refusal.reason, "message": refusal.message}
    return Response(msgspec.json.encode(problem), refusal.status, headers=headers, media_type=_JSON)


async def _health(settings: Settings) -> dict[str, str]:
    checks = {"database": _ask_database, **({"queue": _ask_queue} if settings.queue_url else {})}
    found = dict.fromkeys(checks, "does not answer")
    for name, ask in checks.items():
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_HEALTH_SECONDS):
                await asyncio.to_thread(ask, settings)
                found[name] = "ok"
    return found


def _ask_database(settings: Settings) -> None:
    with engine(settings.url("landing")).connect() as connection:
        connection.execute(text("SELECT 1"))


def _ask_queue(settings: Settings) -> None:
    with brokers.broker(brokers.broker_url(settings)) as connection:
        connection.connect()


def _documented() -> dict[str, Any]:
    """What OpenAPI says of `POST /v1/events`: bodies by the contracts, and every answer."""
    schemas = [e.json_schema() for e in EVENT_TYPES.values()]
    one = {"oneOf": schemas}
    content = {_JSON: {"schema": {"oneOf": [*schemas, {"type": "array", "items": one, "maxItems": MAX_EVENTS}]}}}
    lines = {"schema": {"type": "string", "description": "One JSON event per line."}}
    refusals = {
        400: "The body holds no event, or is cut off.", 401: "No token, or one that is not known.",
        408: "The body came too slowly.", 413: "Too large.", 415: "An unknown type or encoding of the content.",
        429: "More events than the producer's rate; see Retry-After.", 503: "Overloaded, or a service is away.",
    }  # fmt: skip
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": {**content, "application/x-ndjson": lines}}},
        "responses": {
            200: {"model": Answer, "description": "Every event is durable."},
            207: {"model": Answer, "description": "Some events are rejected or conflict; the others are durable."},
            **{code: {"model": Problem, "description": why} for code, why in refusals.items()},
        },
        "response_class": Response,
    }


_DOCUMENTED = _documented()
