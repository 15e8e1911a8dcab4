"""What an import would land: its first events, how many of each type, and what would be refused, with no database."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from wayfare.landing.decode import decoder, halves_of
from wayfare.landing.mapping.files import mapped_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from wayfare.landing.lines import Lines
    from wayfare.settings import Settings
    from wayfare.staging.incoming import Incoming, Rejection


_EXAMPLES = 5


@dataclasses.dataclass(slots=True)
class Problem:
    """Rows or events refused for the same reason; the first of them is at `line` of `source`.

    `examples` are the first few different messages, such as the values that a lookup does not hold.
    """

    reason: str
    field: str | None
    source: str
    line: int
    count: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Preview:
    """`first` are the events of the first row that has any; `repeated` events have the id of another event."""

    events: dict[str, int] = dataclasses.field(default_factory=dict)
    first: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    repeated: int = 0


def preview(
    settings: Settings, mapping: str, files: Sequence[str], *, progress: Callable[[int], None] | None = None
) -> Preview:
    """Map and check files as `import_files` would, and land nothing.

    Raises
    ------
    DeclarationError
        The mapping is wrong, or names columns that a file does not have.
    DataError
        A file is missing, damaged or not of its format.
    """
    seen = Preview()
    ids: list[npt.NDArray[np.uint64]] = []
    problems: dict[tuple[str, str | None], Problem] = {}
    with decoder(settings) as decode, mapped_runs(settings, mapping, files, progress) as runs:
        for lines in runs:
            seen.first = seen.first or _first(lines)
            incoming = decode(lines)
            for contract, table in incoming.events:
                seen.events[contract.name] = seen.events.get(contract.name, 0) + len(table)
            for rejection in incoming.rejections:
                _count(problems, rejection, incoming)
            # half of each id is enough to tell ids apart
            ids.append(halves_of(incoming.keys["event_id"].combine_chunks())[:, 0].astype(np.uint64))
    seen.problems = sorted(problems.values(), key=lambda problem: -problem.count)
    every = np.concatenate(ids) if ids else np.empty(0, np.uint64)
    seen.repeated = len(every) - len(np.unique(every))
    return seen


def _first(lines: Lines) -> list[dict[str, Any]]:
    given = lines.table.filter(pc.is_valid(lines.table["json"]))
    if not len(given):
        return []
    return [json.loads(text) for text in given.filter(pc.equal(given["line"], given["line"][0]))["json"].to_pylist()]


def _count(problems: dict[tuple[str, str | None], Problem], rejection: Rejection, incoming: Incoming) -> None:
    key = rejection.reason, rejection.field
    if key not in problems:
        problems[key] = Problem(*key, incoming.source, incoming.lines[rejection.ordinal].as_py())
    problem = problems[key]
    problem.count += 1
    message = re.sub(r"^line [0-9]+, ", "", rejection.message)
    if len(problem.examples) < _EXAMPLES and message not in problem.examples:
        problem.examples.append(message)
