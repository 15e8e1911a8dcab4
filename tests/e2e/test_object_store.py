"""Day files and hand-overs of a whole run on an object store that speaks S3: the same marts as on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import fsspec
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from wayfare import landing, simulator, storage
from wayfare.maintenance import prune
from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wayfare.settings import Settings

ANALYSES = ("economic_results", "customer_value")


@pytest.fixture
def bucket(free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket on a server of its own, which the environment tells fsspec of."""
    server = ThreadedMotoServer("127.0.0.1", free_port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{free_port}"
    options = {"endpoint_url": endpoint, "key": "k", "secret": "s"}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    client.create_bucket(Bucket="wayfare")
    yield "s3://wayfare/here"
    server.stop()


def marts(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(settings.url("owner")) as connection:
        return {n: sorted(connection.execute(f"SELECT * FROM bi.{n}".encode()), key=repr) for n in ANALYSES}


def test_a_run_on_s3_publishes_what_a_run_on_disk_does(settings: Settings, tmp_path: Path, bucket: str) -> None:
    simulator.simulate(tmp_path / "events", days=2, customers=200, seed=5, broken_share=0.0)
    landing.land(settings, sorted(str(f) for f in (tmp_path / "events").glob("*.parquet")))
    on_s3 = settings.model_copy(update={"storage_url": bucket})
    for name in ANALYSES:
        (done,) = bring_up_to_date(on_s3, name)
        assert done["extract"]["files_written"] + done["extract"]["files_reused"] > 0
    assert not (settings.home / "storage").exists()
    published = marts(settings)
    for name in ANALYSES:
        assert list(bring_up_to_date(settings, name, force=True))
    assert marts(settings) == published
    fs, path = storage.filesystem(bucket)
    assert not [f for f in fs.find(path) if f.endswith(".tmp")]
    assert prune(on_s3, keep_days=1)["files"] == 0
