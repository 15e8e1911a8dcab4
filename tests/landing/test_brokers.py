"""The URL of a broker: what names none is refused before anything connects, and not quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from wayfare.collector.server import serve
from wayfare.errors import ConfigurationError
from wayfare.landing.brokers import broker_url
from wayfare.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MALFORMED = [
    "redis://:a/Secret@127.0.0.1:1/0", "amqp://me:1/Secret@127.0.0.1:1//", "amqp://me:1?Secret@127.0.0.1:1//",
    "amqp://me:1#Secret@127.0.0.1:1//", "foo://me:Secret@127.0.0.1:1/", "me:Secret@127.0.0.1",
    "amqp://me:Secret@127.0.0.1:99999//", "amqp://me:x@127.0.0.1:1//;foo://me:Secret@127.0.0.1:2//",
]  # fmt: skip


@pytest.mark.parametrize("url", MALFORMED)
def test_a_url_that_names_no_broker(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path).model_copy(update={"queue_url": SecretStr(url)})
    for use in (broker_url, lambda settings: serve(settings, "127.0.0.1", 0)):
        with pytest.raises(ConfigurationError, match="WAYFARE_QUEUE_URL") as told:
            use(settings)
        assert "Secret" not in str(told.value)


@pytest.mark.parametrize("url", ["amqp://me:x%2Fy@a:1//;amqp://me:x@b:1//", "redis://:x@a/0?socket_timeout=5"])
def test_a_url_that_names_brokers(url: str, tmp_path: Path) -> None:
    assert broker_url(Settings(home=tmp_path).model_copy(update={"queue_url": SecretStr(url)})) == url
