"""Lists of Redis: what a connection took is another's once it is gone, whatever answers it did not get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kombu.connection import Connection
from redis import ConnectionError as ConnectionLost
from redis.connection import Connection as Socket

from waiting import until
from wayfare.errors import ServiceError
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
