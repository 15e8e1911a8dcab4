"""Any order, split and repetition of the same events, with kills in between, gives byte-equal marts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from published import published
from wayfare import landing, simulator
from wayfare.analyses.registry import analyses
from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from wayfare.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a small agency's nine days: late events, duplicates, bots and broken lines among them."""
    folder = tmp_path_factory.mktemp("agency")
    simulator.simulate(folder, days=9, customers=40, seed=11, form="jsonl")
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    stock = [line for line in lines if b'"event_type":"inventory"' in line]
    return [line for line in lines if b'"event_type":"inventory"' not in line] + stock[::20]


def write(folder: Path, name: str, lines: list[bytes]) -> str:
    file = folder / f"{name}.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(file)


def land_and_kill(file: str, delay: float) -> None:
    """Land a file in a process of its own that is killed after `delay` seconds."""
    program = (
        f"from wayfare.landing import land; from wayfare.settings import get_settings; land(get_settings(), [{file!r}])"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "include"), "WAYFARE_LANDING_ROWS": "50"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def bring_all_up_to_date(settings: Settings) -> None:
    for name in analyses():
        for _ in bring_up_to_date(settings, name):
            pass


@pytest.fixture(scope="module")
def expected(
    events: list[bytes],
    fresh_installation: Callable[[], AbstractContextManager[Settings]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """The marts after all events landed at once, in order, and each analysis ran once."""
    with fresh_installation() as settings:
        landing.land(settings, [write(tmp_path_factory.mktemp("once"), "all", events)])
        bring_all_up_to_date(settings)
        marts = published(settings.url("owner"))
    assert all(marts.values()), "every mart has rows"
    return marts


def test_marts_do_not_depend_on_how_events_came(
    events: list[bytes],
    expected: dict[str, bytes],
    fresh_installation: Callable[[], AbstractContextManager[Settings]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @given(seed=st.integers(0, 2**32), pieces=st.integers(2, 4), delay=st.floats(0.6, 2.0))
    @hypothesis_settings(max_examples=2, deadline=None, phases=[Phase.generate])
    def marts_are_equal(seed: int, pieces: int, delay: float) -> None:
        chance = random.Random(seed)
        shuffled = chance.sample(events, len(events))
        cuts = [0, *sorted(chance.sample(range(1, len(shuffled)), pieces - 1)), len(shuffled)]
        folder = tmp_path_factory.mktemp("pieces")
        with fresh_installation() as settings:
            files: list[str] = []
            for number in range(pieces):
                lines = shuffled[cuts[number] : cuts[number + 1]]
                files.append(write(folder, str(number), lines + chance.choices(lines, k=len(lines) // 5)))
                if number == 0:
                    land_and_kill(files[0], delay)
                landing.land(settings, [files[-1], chance.choice(files)])
                list(bring_up_to_date(settings, chance.choice(sorted(analyses()))))
            bring_all_up_to_date(settings)
            found = published(settings.url("owner"))
        assert [name for name in expected if found[name] != expected[name]] == []

    marts_are_equal()
