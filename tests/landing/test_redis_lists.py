"""Lists of Redis: what a connection took is another's once it is gone, whatever answers it did not get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kombu.connection import Connection
from redis import ConnectionError as ConnectionLost
from redis.connection import Connection as Socket

from waiting import until
from wayfare.errors import ServiceError
from wayfare.landing import redis_lists
from wayfare.landing.brokers import declared
from wayfare.landing.redis_lists import RedisQueue

if TYPE_CHECKING:
    from brokers import Broker


def test_a_take_whose_answer_was_lost_is_not_sent_again(
    redis: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second take would come with nothing to say that the first is held, too, and both would be let go."""
    name, read = request.node.name, Socket.read_response

    def lost(self: Socket, *args: Any, **kwargs: Any) -> Any:
        if isinstance(answer := read(self, *args, **kwargs), list) and answer:
            monkeypatch.undo()
            raise ConnectionLost("the answer was lost")
        return answer

    with Connection(redis.url) as connection:
        connection.default_channel.client.lpush(name, *(b"%d" % n for n in range(5)))
    with RedisQueue(redis.url, name) as taking:
        assert len(taking.receive(1, 1)) == 1
        monkeypatch.setattr(Socket, "read_response", lost)
        with pytest.raises(ServiceError, match="the answer was lost"):
            taking.receive(1, 2)
    found = set[bytes]()
    with RedisQueue(redis.url, name) as taking:
        until(lambda: found.update(d.body for d in taking.receive(1, 5)) or len(found) == 5, 20)


def test_who_connects_and_takes_while_another_looks_is_not_gone(
    redis: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = request.node.name
    with Connection(redis.url) as connection:
        connection.default_channel.client.lpush(name, b"1")
    with RedisQueue(redis.url, name) as late, RedisQueue(redis.url, name) as looking:
        ask = looking._client.execute_command

        def asked(*command: Any, **how: Any) -> Any:
            monkeypatch.undo()
            answer = ask(*command, **how)
            assert len(late.receive(0, 1)) == 1
            return answer

        monkeypatch.setattr(looking._client, "execute_command", asked)
        assert looking.receive(0, 1) == []


def test_what_is_taken_at_once_is_bounded_by_bytes(
    redis: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_lists, "_TAKE_BYTES", 1_500)
    with Connection(redis.url) as connection:
        connection.default_channel.client.lpush(request.node.name, *[b"x" * 1_000] * 5)
    with RedisQueue(redis.url, request.node.name) as taking:
        assert [len(taking.receive(1, 5)) for _ in range(3)] == [2, 2, 1]


def test_every_priority_is_taken_the_highest_first(redis: Broker, request: pytest.FixtureRequest) -> None:
    """Which to kombu is 0 where the broker is Redis, each with a list of its own."""
    name, producing = request.node.name, {"content_type": "application/json", "content_encoding": "binary"}
    with Connection(redis.url) as connection:
        declared(connection, name)
        for priority in (9, 0, 3):
            connection.Producer().publish(b"%d" % priority, routing_key=name, priority=priority, **producing)
    with RedisQueue(redis.url, name) as taking:
        assert [delivery.body for delivery in taking.receive(1, 5)] == [b"0", b"3", b"9"]
