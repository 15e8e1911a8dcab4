"""Arrow columns from numpy arrays, without a Python object per value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]


def numbered(prefix: str, numbers: npt.NDArray[Any]) -> pa.Array:
    """Ids like `c17`."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def coded(codes: Ints, labels: Sequence[str]) -> pa.Array:
    """Text by its position in `labels`; a negative code is null."""
    # A dictionary that repeats a value is not written the same way every time.
    unique = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    numbers = np.array([unique[label] for label in labels], np.int32)
    indices = pa.array(numbers[np.maximum(codes, 0)], mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(unique, pa.string()))


def constant(label: str, n: int) -> pa.Array:
    """The same text `n` times."""
    return coded(np.zeros(n, np.int32), [label])


def whole(values: npt.NDArray[Any], type_: pa.DataType, present: Flags | None = None) -> pa.Array:
    """Integers of an Arrow type (dates as days, instants as microseconds since 1970); null where not `present`."""
    integers = pa.array(values.astype(np.int64), mask=None if present is None else ~present)
    if pa.types.is_date32(type_):
        integers = integers.cast(pa.int32())
    return integers.cast(type_)


def count(values: npt.NDArray[Any], present: Flags | None = None) -> pa.Array:
    """Counts."""
    return whole(values, pa.int32(), present)


def money(values: npt.NDArray[Any], present: Flags | None = None) -> pa.Array:
    """Amounts in minor units."""
    return whole(values, pa.int64(), present)


def date(days: npt.NDArray[Any], present: Flags | None = None) -> pa.Array:
    """Dates from days since 1970."""
    return whole(days, pa.date32(), present)


def instant(seconds: npt.NDArray[Any]) -> pa.Array:
    """Instants from seconds since 1970, kept to the millisecond."""
    return whole(np.floor(seconds * 1000) * 1000, pa.timestamp("us", "UTC"))


def absent(values: pa.Array, where: Flags) -> pa.Array:
    """`values`, null where `where` holds."""
    return pc.if_else(pa.array(where), pa.scalar(None, values.type), values)


def uuids(rng: np.random.Generator, n: int, mark: bytes) -> pa.Array:
    """Random (version 4) UUIDs; other ones from the same `rng` where the `mark` of 16 bytes is another."""
    octets = np.frombuffer(rng.bytes(16 * n), np.uint8).reshape(n, 16) ^ np.frombuffer(mark, np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    return pa.ExtensionArray.from_storage(
        pa.uuid(), pa.Array.from_buffers(pa.binary(16), n, [None, pa.py_buffer(octets)])
    )


def pick(rng: np.random.Generator, weights: Floats | Sequence[float], n: int) -> Ints:
    """`n` positions, each by its weight."""
    cumulative = np.cumsum(weights)
    return np.asarray(np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right"), np.int64)


def positions(counts: Ints) -> Ints:
    """0, 1, .. within each group of `counts` rows."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def running(values: Floats, counts: Ints) -> Floats:
    """Running sums of `values` within each group of `counts` rows."""
    total = np.cumsum(values)
    ends = np.cumsum(counts)
    before = np.concatenate([[0.0], total])[ends - counts]
    return np.asarray(total - np.repeat(before, counts))
