"""What must hold once the killing is over."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow.parquet as pq
from kombu.connection import Connection
from psycopg import sql
from pydantic import SecretStr

from published import published
from wayfare import landing
from wayfare.contracts import EVENT_TYPES
from wayfare.landing import brokers
from wayfare.local.postgres import temporary_server
from wayfare.pipeline import bring_up_to_date
from wayfare.settings import Settings
from wayfare.staging import database
from wayfare.staging.sealing import Seal
from wayfare.storage import sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.load import Account


def waiting(url: str, name: str) -> int:
    """Messages that are at the broker or out with a lander of Redis."""
    with Connection(url, connect_timeout=5) as connection:
        channel = connection.default_channel
        count = int(channel.queue_declare(name, durable=True, auto_delete=False).message_count)
        if brokers.is_redis(url):
            taken = f"{name}.taken".encode()  # whose account may not list keys
            count += sum(channel.client.llen(taken + b"." + owner) for owner in channel.client.smembers(taken))
        return count


def staged(url: str) -> Counter[str]:
    """How often each event_id is staged."""
    tables = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT event_id::text FROM staging.{}").format(sql.Identifier(e.name)) for e in EVENT_TYPES.values()
    )
    with psycopg.connect(url) as connection:
        return Counter(found for (found,) in connection.execute(tables))


def landing_differences(url: str, account: Account, customer_key: str) -> list[str]:
    """Where staging and rejections are not what was acknowledged."""
    counted, acknowledged = staged(url), account.acknowledged
    with psycopg.connect(url) as connection:
        rejections = connection.execute("SELECT raw, line, source, format FROM staging.rejection").fetchall()
    opened = [Seal(customer_key).open(bytes(raw), *place) for raw, *place in rejections]
    kept = {found[1] for found in opened if found}
    found = {
        "acknowledged and not staged": acknowledged - set(counted),
        "staged and not acknowledged": set(counted) - acknowledged,
        "staged more than once": {found for found, times in counted.items() if times > 1},
        "refused and not kept": account.rejected - kept,
        "kept and not refused": kept - account.rejected,
        "answered otherwise": set(account.surprises),
    }
    return [f"{len(what)} {how}, like {next(iter(what))!r}" for how, what in found.items() if what]


def mart_differences(url: str, events: list[bytes], analyses: Iterable[str], customer_key: str) -> list[str]:
    """Marts that are not those of a clean run over the same events."""
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        clean = Settings(
            database_url=SecretStr(server.url("postgres")), home=Path(folder), customer_key=SecretStr(customer_key)
        )
        database.migrate(clean)
        (Path(folder) / "events.jsonl").write_bytes(b"\n".join(events))
        landing.land(clean, [f"{folder}/events.jsonl"])
        for name in analyses:
            for _ in bring_up_to_date(clean, name):
                pass
        expected, found = published(server.url("postgres"), analyses), published(url, analyses)
        database.engine(server.url("postgres")).dispose()
    empty = [f"bi.{name} has no rows" for name in expected if not expected[name]]
    return empty + [f"bi.{name} differs from a clean run's" for name in expected if found[name] != expected[name]]


def leftovers(home: Path) -> list[str]:
    """Files that a killed task left and nothing would ever remove, and day files that are not whole."""
    storage, long_ago = home / "storage", time.time() - 3 * 86_400
    for file in storage.rglob("*.tmp"):
        os.utime(file, (long_ago, long_ago))
    sweep(str(storage))
    found = [f"{file} stays for good" for file in storage.rglob("*.tmp*")]
    day_files = list(storage.rglob("snapshots/**/*.parquet"))
    if not day_files:
        found.append(f"{storage} holds no day files")
    for file in day_files:
        try:
            pq.ParquetFile(file).close()  # type: ignore[no-untyped-call]  # pyarrow is partly typed
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it
            found.append(f"{file} is damaged: {error}")
    return found


def told(metadata_url: str, url: str) -> dict[str, Any]:
    """Counts of the runs and of what landed."""
    with psycopg.connect(metadata_url) as connection:
        states = connection.execute("SELECT state, count(*) FROM dag_run GROUP BY state ORDER BY state").fetchall()
        [(retries,)] = connection.execute(
            "SELECT coalesce(sum(try_number - 1), 0)::bigint FROM task_instance WHERE try_number > 1"
        )
    with psycopg.connect(url) as connection:
        [landed] = connection.execute(
            "SELECT count(*), sum(duplicates)::bigint, sum(rejected)::bigint, sum(conflicts)::bigint FROM control.batch"
        )
        [(publications,)] = connection.execute("SELECT count(*) FROM control.publication")
    return {
        "batches": landed[0],
        "duplicates dropped": landed[1],
        "rejections kept": landed[2],
        "conflicts": landed[3],
        "runs": ", ".join(f"{count} {state}" for state, count in states),
        "retries of tasks": retries,
        "publications": publications,
    }
