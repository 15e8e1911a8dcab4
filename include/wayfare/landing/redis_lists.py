"""Lists of Redis as a queue that loses nothing: what is taken stays in Redis until it is acknowledged.

kombu's own transport takes a message off the list and notes it afterwards, and loses it if it is killed in between.
Here one script moves messages from the queue's lists to a list of the lander's connection; settling deletes that list,
and any lander puts back the list of a connection that is gone. Messages are kombu's, or bodies that anyone pushed.
"""

from __future__ import annotations

import base64
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NotRequired, Self, TypedDict, cast

import msgspec
import redis
from kombu.transport.redis import PRIORITY_STEPS, Channel
from redis.backoff import NoBackoff
from redis.retry import Retry

from wayfare.errors import ServiceError
from wayfare.landing.brokers import ANSWER_SECONDS
from wayfare.landing.messages import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_POLL_SECONDS = 0.05
_RECOVERY_SECONDS = 2.0
_TAKE_MESSAGES = 500
_TAKE_BYTES = 8 << 20

# A Redis that is full must still be emptied: so the scripts may run past its memory limit.
_TAKE = """#!lua flags=allow-oom
local taken, size = {}, 0
for i = 3, #KEYS do
  while #taken < tonumber(ARGV[2]) and size < tonumber(ARGV[3]) do
    local item = redis.call('LMOVE', KEYS[i], KEYS[2], 'RIGHT', 'LEFT')
    if not item then break end
    taken[#taken + 1], size = item, size + #item
  end
end
if #taken > 0 then redis.call('SADD', KEYS[1], ARGV[1]) end
return taken
"""
_LET_GO = """#!lua flags=allow-oom
for _, item in ipairs(ARGV) do redis.call('LPUSH', KEYS[2], item) end
return redis.call('DEL', KEYS[1])
"""
_PUT_BACK = """#!lua flags=allow-oom
while redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') do end
return redis.call('SREM', KEYS[1], ARGV[1])
"""


class _Properties(TypedDict):
    """Required, though nobody reads them: without them an event of somebody's own would be taken for an envelope."""

    delivery_tag: str
    delivery_info: dict[str, Any]
    body_encoding: NotRequired[str]


_Envelope = TypedDict("_Envelope", {"body": str, "properties": _Properties, "content-type": NotRequired[str | None]})


class RedisQueue:
    """What one connection takes from a queue; a context manager.

    One that raised must not be used again: what its last command took may never have arrived here.
    """

    def __init__(self, url: str, name: str) -> None:
        self._name = name
        self._sources = [name, *(f"{name}{Channel.sep}{step}" for step in PRIORITY_STEPS[1:])]
        self._owners = f"{name}.taken".encode()
        self._owner = f"wayfare-{uuid.uuid4().hex}".encode()
        self._client = redis.Redis.from_url(
            url, client_name=self._owner.decode(), retry=Retry(NoBackoff(), 0), protocol=2,
            socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS,
        )  # fmt: skip
        self._take = self._client.register_script(_TAKE)
        self._let_go = self._client.register_script(_LET_GO)
        self._put_back = self._client.register_script(_PUT_BACK)
        self._held: list[bytes] = []
        self._looked = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def receive(self, seconds: float, most: int) -> Sequence[Delivery]:
        """Up to `most` messages that came within so many seconds.

        Raises
        ------
        ServiceError
            Redis does not answer.
        """
        until = time.monotonic() + seconds
        with self._service_errors():
            self._recover()
            while not (taken := self._taken(most)) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
        self._held += taken
        return [_delivery(item) for item in taken]

    def acknowledge(self, refused: Sequence[int]) -> None:
        """Let go of what was received since the last time; of that, what is at these places goes to `NAME.refused`.

        Raises
        ------
        ServiceError
            Redis does not answer: what it still holds, it delivers again.
        """
        with self._service_errors():
            self._let_go([self._list_of(self._owner), f"{self._name}.refused"], [self._held[i] for i in refused])
        self._held.clear()

    def _taken(self, most: int) -> list[bytes]:
        keys: list[bytes | str] = [self._owners, self._list_of(self._owner), *self._sources]
        return cast("list[bytes]", self._take(keys, [self._owner, min(most, _TAKE_MESSAGES), _TAKE_BYTES]))

    def _recover(self) -> None:
        """Put back, now and then, what connections that are gone had taken."""
        if time.monotonic() < self._looked + _RECOVERY_SECONDS:
            return
        self._looked = time.monotonic()
        owners = cast("set[bytes]", self._client.smembers(self._owners))  # which anyone may have written to
        if owners - {self._owner}:
            # Asked after the owners: one that has taken was connected by then.
            connected = {client["name"].encode() for client in self._client.client_list()}
            for owner in owners - connected:
                self._put_back([self._owners, self._list_of(owner), self._name], [owner])

    def _list_of(self, owner: bytes) -> bytes:
        return self._owners + b"." + owner

    @contextmanager
    def _service_errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise ServiceError(f"Redis does not answer: {error}") from error


def _delivery(item: bytes) -> Delivery:
    """The body of a message of kombu's, or all of what is not one."""
    try:
        envelope = msgspec.json.decode(item, type=_Envelope)
        body = envelope["body"].encode("utf-8", "surrogatepass")
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
    except (ValueError, RecursionError):
        return Delivery(item, "application/json")
    return Delivery(body, envelope.get("content-type"))
