"""Kills and pauses services at random, one at a time, and starts again what is down."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from chaos.services import LIVES

if TYPE_CHECKING:
    from chaos.services import Services

PAUSED_SHARE = 0.25


class Killer:
    """Strikes by the seed: which service, how, and for how long it is away."""

    def __init__(self, services: Services, seed: int, gap: float) -> None:
        self._services = services
        self._chance = random.Random(seed)
        self._gap = gap
        self._begun = time.monotonic()
        self.kills: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def strike_for(self, seconds: float) -> None:
        """Strike for so many seconds; everything runs at the end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._strike()
            self.keep(self._chance.uniform(0.5, 1.5) * self._gap)

    def keep(self, seconds: float) -> None:
        """Let so many seconds pass; start again what ends by itself meanwhile."""
        until = time.monotonic() + seconds
        while True:
            for title in self._services.ended():
                self.ends[title] += 1
                self.say(f"{title} ended by itself: {_last_line(self._services.native.log(title))}")
                self._services.kill(title)  # what it left behind goes with it, as in a container
                self._services.start(title)
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(1.0, left))

    def say(self, told: str) -> None:
        """A line with the seconds since the beginning."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {told}", flush=True)

    def _strike(self) -> None:
        titles = self._services.titles
        title = self._chance.choices(titles, [LIVES[t] for t in titles])[0]
        paused, away = self._chance.random() < PAUSED_SHARE, self._chance.uniform(0, 8)
        if paused:
            self.pauses[title] += 1
            self.say(f"paused {title} for {away:.1f} s")
            self._services.pause(title, signal.SIGSTOP)
            time.sleep(away)
            self._services.pause(title, signal.SIGCONT)
        else:
            self.kills[title] += 1
            self.say(f"killed {title}, away for {away:.1f} s")
            self._services.kill(title)
            time.sleep(away)
            self._services.start(title)


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
