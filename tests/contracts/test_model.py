"""What a contract declares, as code works with it."""

from __future__ import annotations

import subprocess
import sys

CONVERTING = """
import sys, threading
import msgspec
from wayfare.contracts import EVENT_TYPES

def convert(struct, begin):
    begin.wait()
    for _ in range(3):
        try:
            msgspec.convert(event, struct)
        except msgspec.ValidationError:
            pass

sys.setswitchinterval(1e-6)
event = {field.name: "x" for field in EVENT_TYPES["booking"].fields} | {"event_type": "booking"}
for _ in range(300):
    EVENT_TYPES["booking"].__dict__.pop("struct", None)
    begin = threading.Event()
    threads = [threading.Thread(target=convert, args=(EVENT_TYPES["booking"].struct, begin)) for _ in range(3)]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()
"""


def test_threads_may_decode_the_first_events_of_a_type_at_once() -> None:
    """Where msgspec reads the types of a struct that others convert to already, the process ends by signal 11."""
    assert subprocess.run([sys.executable, "-c", CONVERTING], check=False).returncode == 0
