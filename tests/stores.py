"""An S3 for the tests, and files that look older than they are."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from typing import TYPE_CHECKING

from wayfare import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "wayfare", "AWS_SECRET_ACCESS_KEY": "secret"}


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's server within this process; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def write(url: str, content: bytes, *, age_days: float = 0) -> None:
    """Write a file as if it had been done a while ago."""
    fs, path = storage.filesystem(url)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    fs.pipe_file(path, content)
    written_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=age_days)
    if storage.is_local(url):
        os.utime(path, (written_at.timestamp(), written_at.timestamp()))
        return
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    bucket, _, key = path.partition("/")
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key].last_modified = written_at.replace(tzinfo=None)
