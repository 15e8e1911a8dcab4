"""What every reader yields: a run of lines, each as it came and as JSON text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_RUN_BYTES = 32 << 20
TOO_LONG = "line_too_long"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is not an event: a reason code, the field at fault where there is one, and a sentence.

    `plain` is the sentence without any value of the line, where it quotes one.
    """

    reason: str
    message: str
    field: str | None = None
    plain: str | None = None

    def sentence(self, *, quoting: bool) -> str:
        """The sentence, with or without the line's values."""
        return self.message if quoting or self.plain is None else self.plain


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of one source.

    `table` has `line` (int64, from 1), `raw` (binary, as it came) and `json` (string; null where `faults` says why).
    `faults` is by position in the table. `header` is the CSV line that names the cells of `raw`.
    """

    source: str
    format: str
    table: pa.Table
    faults: dict[int, Fault] = field(default_factory=dict)
    header: str | None = None

    @classmethod
    def of(
        cls, source: str, form: str, rows: Sequence[tuple[int, bytes, str | Fault]], header: str | None = None
    ) -> Lines:
        """Lines read one by one: the number of each, itself as it came, and its JSON text or why it has none."""
        table = pa.table(
            {
                "line": pa.array([line for line, _, _ in rows], pa.int64()),
                "raw": pa.array([raw for _, raw, _ in rows], pa.binary()),
                "json": pa.array([None if isinstance(read, Fault) else read for _, _, read in rows], pa.string()),
            }
        )
        faults = {i: read for i, (_, _, read) in enumerate(rows) if isinstance(read, Fault)}
        return cls(source, form, table, faults, header)


def repeated(names: Iterable[str]) -> list[str]:
    """Those of the names that are there more than once.

    >>> repeated("banana")
    ['a', 'n']
    """
    return [name for name, count in Counter(names).items() if count > 1]


def too_long(source_line: int) -> Fault:
    """The fault of a line longer than `MAX_LINE` bytes."""
    return Fault(
        TOO_LONG,
        f"line {source_line} is longer than {MAX_LINE:,} bytes, the most an event may have; only its beginning is "
        "kept, so correct it at its source and land it again",
    )


NOT_UTF8 = Fault("not_utf8", "is not UTF-8; write the source in UTF-8 and land it again")


def decoded(raw: bytes, source_line: int) -> str | Fault:
    """The text of a line, or why it has none."""
    if len(raw) > MAX_LINE:
        return too_long(source_line)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
