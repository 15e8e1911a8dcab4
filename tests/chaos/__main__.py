"""The program of `make chaos`: exit status 1 where anything differs."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos import verdict
from chaos.killer import Killer
from chaos.load import PRODUCER, TYPES, Load, made
from chaos.services import Services
from e2e.native import pause_all_but
from waiting import until
from wayfare.analyses.registry import analyses

if TYPE_CHECKING:
    from collections.abc import Callable

ANALYSES = ("capacity_alerts", "destination_demand", "economic_results", "sessions")
"""By default: one of vintages, one by day, one with what refers back, one of sessions."""
QUEUE = "wayfare.events"
_LONG = 1_800


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long services are killed")
    parser.add_argument("--broker", choices=["rabbitmq", "redis"], default="redis", help="where events are queued")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the events and the killing")
    parser.add_argument("--gap", type=float, default=6, help="seconds between two strikes, on average")
    parser.add_argument("--analyses", nargs="+", default=ANALYSES, choices=list(analyses()), metavar="ANALYSIS")
    options = parser.parse_args()
    print(f"chaos: {options.minutes:g} minutes, {options.broker}, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="wayfare-chaos-", ignore_cleanup_errors=True) as folder:
        services = Services(Path(folder), options.broker)
        try:
            return _run(services, Path(folder), options)
        finally:
            services.stop_all()


def _run(services: Services, folder: Path, options: argparse.Namespace) -> int:
    native, begun = services.native, time.monotonic()
    events, poison = made(folder / "events", options.seed, options.minutes)
    services.start_all()
    token = native.wayfare("producer", "add", PRODUCER, "--types", TYPES, "--rate", "100000").strip().splitlines()[-1]
    address = f"http://127.0.0.1:{native.ports['collector']}"
    metadata, url = native.postgres.url("airflow"), native.postgres.url()
    until(lambda: _healthy(address), 300, lambda: native.log("collector"), 0.5)
    until(lambda: pause_all_but(options.analyses, metadata), 600, lambda: native.log("dag-processor"), 1)

    killer, load = Killer(services, options.seed, options.gap), Load(events, poison, options.seed)
    killer.say(f"{len(events)} events and {len(poison)} that are none; services start to be killed")
    load.start(address, token, (services.queue_url, QUEUE), options.minutes * 60 + 15)
    killer.strike_for(options.minutes * 60)
    killer.say("no more is killed; waiting for the rest")

    wait = _Wait(killer)
    late = [
        *wait("everything is acknowledged", lambda: load.ended(0), 300),
        *wait("the queue is empty", lambda: verdict.waiting(services.queue_url, QUEUE) == 0, 120),
        *wait("everything is staged", lambda: set(verdict.staged(url)) >= load.account.acknowledged, 60),
        *wait("the marts are fresh", lambda: _fresh(services, options.analyses), _LONG),
    ]
    for title in list(native.running):
        native.kill(title)
    killer.say("comparing with a clean run")
    customer_key = native.secrets["WAYFARE_CUSTOMER_KEY"]
    wrong = [
        *late,
        *verdict.landing_differences(url, load.account, customer_key),
        *verdict.mart_differences(url, events, options.analyses, customer_key),
        *verdict.leftovers(Path(native.environment("worker")["WAYFARE_HOME"])),
    ]
    _close(killer, load, verdict.told(metadata, url), time.monotonic() - begun)
    for difference in wrong:
        print(f"WRONG: {difference}")
    print("staged = acknowledged, marts = a clean run's" if not wrong else f"{len(wrong)} differences")
    return 1 if wrong else 0


class _Wait:
    """Waits for something to hold while services that end by themselves are started again."""

    def __init__(self, killer: Killer) -> None:
        self._killer = killer

    def __call__(self, what: str, holds: Callable[[], bool], seconds: float) -> list[str]:
        """Nothing once it holds; what does not, after so many seconds."""
        until = time.monotonic() + seconds
        while not _quietly(holds):
            if time.monotonic() > until:
                return [f"after {seconds:.0f} s it is not so that {what}"]
            self._killer.keep(1)
        self._killer.say(what)
        return []


def _quietly(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except Exception:  # noqa: BLE001  # a service that is still coming up
        return False


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _fresh(services: Services, names: tuple[str, ...]) -> bool:
    rows = {row["analysis"]: row for row in json.loads(services.native.wayfare("status", "--json"))}
    return all(rows[name]["stale_days"] == 0 and rows[name]["rows"] for name in names)


def _close(killer: Killer, load: Load, counts: dict[str, Any], seconds: float) -> None:
    struck = sorted({*killer.kills, *killer.pauses, *killer.ends})
    print(f"\n{'service':<16}{'killed':>8}{'paused':>8}{'ended':>8}")
    for title in struck:
        print(f"{title:<16}{killer.kills[title]:>8}{killer.pauses[title]:>8}{killer.ends[title]:>8}")
    totals = [sum(counter.values()) for counter in (killer.kills, killer.pauses, killer.ends)]
    print(f"{'all':<16}{totals[0]:>8}{totals[1]:>8}{totals[2]:>8}\n")
    account = load.account
    rows = {
        "lines sent": account.sent,
        "lines sent again": account.sent_again,
        "events acknowledged": len(account.acknowledged),
        "lines refused": len(account.rejected),
        **counts,
        "seconds": round(seconds),
    }
    for name, value in rows.items():
        print(f"{name:<24}{value}")
    print()


if __name__ == "__main__":
    sys.exit(main())
