"""Events over HTTP: a collector beside PostgreSQL, loaded by wrk (Debian's package) in requests of 100 events.

    python bench/collector.py [--seconds 10] [--connections 32]

Prints events a second, the latency of a request, and how much of a core collector and PostgreSQL take at 5,000 events a
second: where others load the machine, that is the figure to go by. All events of a run are new. Fails where fewer than
5,000 events a second are acknowledged, or where not all that was acknowledged is staged.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import psycopg

from wayfare.collector import producers
from wayfare.contracts import EVENT_TYPES
from wayfare.local.postgres import EmbeddedPostgres, free_port, temporary_server
from wayfare.settings import Settings
from wayfare.staging import database

if TYPE_CHECKING:
    from pathlib import Path

WANTED = 5_000
_BATCH = 100

# wrk writes a number of its own for each request where the events say @@@@@@@@.
_SCRIPT = """
local body = io.open("%(body)s", "rb"):read("*a")
local sent, answers, threads = 0, {}, {}
function setup(t) table.insert(threads, t); t:set("id", #threads) end
function init()
  wrk.method, wrk.headers["Content-Type"] = "POST", "application/x-ndjson"
  wrk.headers["Authorization"] = "Bearer %(token)s"
  codes = ""
end
function request()
  sent = sent + 1
  local mark = string.format("%%01x%%07x", id, sent)
  return wrk.format(nil, "/v1/events", nil, (body:gsub("@@@@@@@@", mark)))
end
function response(status)
  answers[status] = (answers[status] or 0) + 1
  codes = ""
  for code, count in pairs(answers) do codes = codes .. code .. "=" .. count .. " " end
end
function done()
  for _, t in ipairs(threads) do print("codes " .. t:get("codes")) end
end
"""


def main() -> int:
    """Print what is measured; exit status 1 where it is too slow or something is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("needs wrk: apt-get install wrk")
    with temporary_server() as server:
        return _measure(server, server.data.parent, arguments.seconds, arguments.connections)


def _measure(server: EmbeddedPostgres, folder: Path, seconds: int, connections: int) -> int:
    url = server.url("postgres")
    settings = Settings(database_url=url, home=folder / "home")
    database.migrate(settings)
    token = producers.add(settings, "web", [e.type for e in EVENT_TYPES.values()], 1_000_000)
    (folder / "body").write_text("".join(json.dumps(e) + "\n" for e in _events()))
    (folder / "load.lua").write_text(_SCRIPT % {"body": folder / "body", "token": token})
    port = free_port()
    environment = os.environ | {"WAYFARE_DATABASE_URL": url, "WAYFARE_HOME": str(folder / "home")}
    command = [sys.executable, "-c", "from wayfare.cli import main; main()", "collect", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            _wait(port, token)
            before, begun = _processor_seconds(server, process), time.monotonic()
            out = subprocess.run(
                ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency",
                 "-s", folder / "load.lua", f"http://127.0.0.1:{port}"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            took = time.monotonic() - begun
            spent = tuple(b - a for a, b in zip(before, _processor_seconds(server, process), strict=True))
        finally:
            process.terminate()
            process.wait()
    return _told(settings, out, spent, took)


def _told(settings: Settings, out: str, spent: tuple[float, ...], took: float) -> int:
    codes = {int(c): int(n) for c, n in re.findall(r"(\d{3})=(\d+)", out)}
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]) * _BATCH
    latency = dict(re.findall(r"(50|99)%\s+(\S+)", out))
    with psycopg.connect(settings.url("owner")) as connection:
        counted = "SELECT (SELECT count(*) FROM staging.identity), (SELECT count(*) FROM control.batch)"
        staged, batches = connection.execute(counted).fetchone() or (0, 0)
    acknowledged = codes.get(200, 0) * _BATCH
    print(f"{'acknowledged':32}{rate:10,.0f} events/s in requests of {_BATCH}")
    print(f"{'latency of a request':32}{latency.get('50'):>10} median, {latency.get('99')} at 99 %")
    print(f"{'events per commit':32}{staged / batches:10,.0f}")
    for name, seconds in zip(("collector", "PostgreSQL"), spent, strict=True):
        each = seconds / staged * WANTED
        print(f"{'processor, ' + name:32}{each:10.2f} cores at {WANTED:,} events/s; it had {seconds / took:.2f} here")
    print(f"{'answers':32}{codes}, {staged:,} staged")
    lost = staged < acknowledged or set(codes) != {200}
    verdict = "LOST" if lost else "ok" if rate >= WANTED else f"SLOWER than {WANTED:,}"
    print(f"{'verdict':32}{verdict:>10}")
    return int(verdict != "ok")


def _events() -> list[dict[str, object]]:
    """One request's events: as an agency sends them, mostly searches and views."""
    common = {"schema_version": "1-0-0", "occurred_at": "2026-03-29T08:15:00.250Z", "source": "web"}
    plain: list[dict[str, object]] = [
        {"event_type": "search", "search_id": "s1", "product": "hotel", "destination": "LIS", "start_on": "2026-05-01",
         "end_on": "2026-05-04", "adults": 2, "result_count": 40, "visitor_id": "v1", "session_id": "x1"},
        {"event_type": "view", "product": "hotel", "resource_id": "hotel:PT-0031/double", "search_id": "s1",
         "price": 10050, "currency": "EUR", "position": 3, "visitor_id": "v1"},
        {"event_type": "booking", "booking_id": "@@@@@@@@", "item_id": "i1", "product": "hotel", "units": 1,
         "resource_id": "hotel:PT-0031/double", "destination": "LIS", "start_on": "2026-05-01", "end_on": "2026-05-04",
         "price": 10050, "currency": "EUR", "customer_id": "c1"},
        {"event_type": "purchase", "purchase_id": "p1", "category": "meal", "sku": "breakfast", "quantity": 2,
         "price": 2400, "currency": "EUR", "booking_id": "@@@@@@@@", "item_id": "i1"},
    ]  # fmt: skip
    kinds = [plain[0]] * 50 + [plain[1]] * 40 + [plain[2]] * 6 + [plain[3]] * 4
    return [{"event_id": f"@@@@@@@@-0000-4000-8000-{n:012x}", **common, **kind} for n, kind in enumerate(kinds)]


def _processor_seconds(server: EmbeddedPostgres, process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """What the collector and PostgreSQL have used so far."""
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
    groups = [psutil.Process(process.pid)], [postmaster, *postmaster.children()]
    collector, postgres = (sum(p.cpu_times().user + p.cpu_times().system for p in group) for group in groups)
    return collector, postgres


def _wait(port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/events", b" ", headers)
    for _ in range(300):
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            if error.code == 400:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the collector did not start")


if __name__ == "__main__":
    sys.exit(main())
