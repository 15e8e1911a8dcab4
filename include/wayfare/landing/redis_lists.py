"""kombu's Redis transport, taking also what is no message of kombu's: events pushed onto the list by anyone.

kombu itself fails on such an item after it took it off the list, and so loses it.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any, NotRequired, TypedDict

import msgspec
from kombu.transport import redis

_PRIORITY = redis.Channel.sep


class _Properties(TypedDict):
    delivery_tag: str
    delivery_info: dict[str, Any]
    body_encoding: NotRequired[str]


class _Envelope(TypedDict):
    body: str
    properties: _Properties


class Channel(redis.Channel):
    """A channel whose messages are kombu's, or JSON bodies by themselves."""

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[no-untyped-call]  # kombu is partly typed
        client.set_response_callback("BRPOP", _enveloped)
        return client


class Transport(redis.Transport):
    """The transport of that channel."""

    Channel = Channel


def _enveloped(answer: Any) -> tuple[bytes, bytes] | None:
    if not answer:
        return None
    name, item = answer
    return name, item if _is_message(item) else _message(item, name.decode().partition(_PRIORITY)[0])


def _is_message(item: bytes) -> bool:
    try:
        envelope = msgspec.json.decode(item, type=_Envelope)
        if envelope["properties"].get("body_encoding") == "base64":
            base64.b64decode(envelope["body"])
    except (ValueError, RecursionError):
        return False
    return True


def _message(item: bytes, queue: str) -> bytes:
    return msgspec.json.encode(
        {
            "body": base64.b64encode(item).decode(),
            "content-type": "application/json",
            "content-encoding": "binary",
            "headers": {},
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
                "delivery_info": {"exchange": "", "routing_key": queue},
            },
        }
    )
