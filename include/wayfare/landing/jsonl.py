"""JSON Lines, split into lines without copying them one by one."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare.landing.lines import MAX_RUN_BYTES, Fault, Lines, decoded
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_BLOCK = 1 << 20
_FIRST_RUN = 4 << 20
_NEWLINE = 10


def read(stream: BinaryIO, source: str, rows: int) -> Iterator[Lines]:
    """Runs of at most `rows` lines and about `MAX_RUN_BYTES`, the first ones shorter; `raw` keeps its line ending."""
    line, pieces, count, size = 1, list[pa.Array](), 0, 0
    enough = _FIRST_RUN  # the sooner staging begins, the sooner it ends
    for piece in _pieces(stream):
        start = 0
        while start < len(piece):
            part = piece.slice(start, rows - count)
            start += len(part)
            pieces.append(part)
            count += len(part)
            size += part.nbytes
            if count == rows or size >= enough:
                yield _lines(pieces, source, line)
                enough = min(2 * enough, MAX_RUN_BYTES)
                line, pieces, count, size = line + count, [], 0, 0
    if count:
        yield _lines(pieces, source, line)


def _pieces(stream: BinaryIO) -> Iterator[pa.Array]:
    """Arrays of whole lines; of a line past `MAX_LINE`, its first `MAX_LINE + 1` bytes."""
    rest, first = b"", True
    while block := stream.read(_BLOCK):
        if first:
            block, first = block.removeprefix(BOM_UTF8), False
        body = rest + block
        end = body.rfind(b"\n") + 1
        if end:
            yield _split(body, end)
        rest = body[end:]
        if len(rest) > MAX_LINE + 1:
            rest = _beginning_of_long_line(rest, stream)
    if rest:
        yield _split(rest, len(rest))


def _beginning_of_long_line(rest: bytes, stream: BinaryIO) -> bytes:
    """Read past the end of the line that `rest` begins; its beginning, marked as too long, and what follows it."""
    while block := stream.read(_BLOCK):
        end = block.find(b"\n")
        if end >= 0:
            return rest[: MAX_LINE + 1] + block[end:]
    return rest[: MAX_LINE + 1]


def _split(body: bytes, end: int) -> pa.Array:
    """The lines before `end`, where one ends, in place."""
    ends = np.flatnonzero(np.frombuffer(body, np.uint8, end) == _NEWLINE) + 1
    offsets = np.concatenate([[0], ends, [end] if body[end - 1] != _NEWLINE else []]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(body)])


def _lines(pieces: list[pa.Array], source: str, first_line: int) -> Lines:
    texts, faults, position = [], dict[int, Fault](), 0
    for piece in pieces:
        text = _text(piece)
        if text is None:
            text = _careful_text(piece, position, first_line, faults)
        texts.append(text)
        position += len(piece)
    table = pa.table(
        {
            "line": np.arange(first_line, first_line + position),
            "raw": pa.chunked_array(pieces, pa.binary()),
            "json": pa.chunked_array(texts, pa.string()),
        }
    )
    return Lines(source, "jsonl", table, faults)


def _text(piece: pa.Array) -> pa.Array | None:
    """The lines as text, or None where one of them is too long or not UTF-8."""
    if pc.max(pc.binary_length(piece)).as_py() > MAX_LINE:
        return None
    try:
        return piece.cast(pa.string())
    except pa.ArrowInvalid:
        return None


def _careful_text(piece: pa.Array, position: int, first_line: int, faults: dict[int, Fault]) -> pa.Array:
    texts: list[str | None] = []
    for i, raw in enumerate(piece.to_pylist(), start=position):
        text = decoded(raw.removesuffix(b"\n").removesuffix(b"\r"), first_line + i)
        if isinstance(text, Fault):
            faults[i] = text
        texts.append(None if isinstance(text, Fault) else text)
    return pa.array(texts, pa.string())
