"""Whole runs in an object store that speaks S3: the same marts as on a disk, and nothing left on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from wayfare import landing, simulator, storage
from wayfare.maintenance import prune
from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings

ANALYSES = ("economic_results", "customer_value")


def marts(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(settings.url("owner")) as connection:
        return {n: sorted(connection.execute(f"SELECT * FROM bi.{n}".encode()), key=repr) for n in ANALYSES}


def test_a_run_on_s3_publishes_what_a_run_on_disk_does(settings: Settings, tmp_path: Path, s3: str) -> None:
    simulator.simulate(tmp_path / "events", days=2, customers=200, seed=5, broken_share=0.0)
    landing.land(settings, sorted(str(f) for f in (tmp_path / "events").glob("*.parquet")))
    on_s3 = settings.model_copy(update={"storage_url": f"{s3}/whole-run"})
    for name in ANALYSES:
        (done,) = bring_up_to_date(on_s3, name)
        assert done["extract"]["files_written"] + done["extract"]["files_reused"] > 0
        assert "<title>" in storage.read_text(done["audit"]["docs"])
    assert not (settings.home / "storage").exists()
    published = marts(settings)
    for name in ANALYSES:
        assert list(bring_up_to_date(settings, name, force=True))
    assert marts(settings) == published
    assert not [file for file in storage.files(on_s3.storage) if file.endswith(".tmp")]
    assert prune(on_s3, keep_days=1)["files"] == 0
