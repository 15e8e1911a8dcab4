"""The seal: opens in its row alone, under its key alone; equal lines are known as equal."""

from __future__ import annotations

import hashlib

import pytest

from wayfare.staging.sealing import Seal

SEAL = Seal("a key")
ROW = (7, "/in/a.csv", "csv")
RAW = b"cust-17,\x00\xff\n"
SEALED_EARLIER = bytes.fromhex(
    "b1cb35ed2021f6e05348f847f87e0a79870535d3f9f28585f79167d496e9cb3d44d46a412eb6013d7dc3ce3bd5d6871f47769e663a452c7a"
)
DIGEST_EARLIER = bytes.fromhex("bc8aa85350084f7a228c6ee68640ef95")


@pytest.fixture
def sealed() -> bytes:
    (made,) = SEAL.seal([RAW], [7], "/in/a.csv", "csv", "customer_id,n")
    return made


def test_what_is_sealed_opens_again(sealed: bytes) -> None:
    assert SEAL.open(sealed, *ROW) == ("customer_id,n", RAW)
    assert Seal("a key").open(sealed, *ROW) == ("customer_id,n", RAW)
    two = SEAL.seal([b"", b"x"], [1, 2], "stdin", "jsonl", None)
    assert [SEAL.open(one, line, "stdin", "jsonl") for one, line in zip(two, (1, 2), strict=True)] == [
        (None, b""), (None, b"x"),
    ]  # fmt: skip


def test_what_an_earlier_release_sealed_opens_and_is_known_again() -> None:
    """These bytes are in databases: whatever fails here would lose the lines that were kept until then."""
    assert SEAL.open(SEALED_EARLIER, *ROW) == ("customer_id,n", RAW)
    assert SEAL.digests([RAW]) == [DIGEST_EARLIER]


def test_it_opens_nowhere_else(sealed: bytes) -> None:
    assert Seal("b key").open(sealed, *ROW) is None
    for row in [(8, "/in/a.csv", "csv"), (7, "/in/b.csv", "csv"), (7, "/in/a.csv", "jsonl")]:
        assert SEAL.open(sealed, *row) is None
    for changed in [sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:20], b""]:
        assert SEAL.open(changed, *ROW) is None


def test_equal_lines_are_sealed_each_in_its_own_way_and_have_one_digest(sealed: bytes) -> None:
    assert SEAL.seal([RAW], [7], "/in/a.csv", "csv", "customer_id,n") != [sealed]
    nonces = {one[:12] for one in SEAL.seal([RAW] * 3, [7, 8, 9], "/in/a.csv", "csv", None)}
    assert len(nonces) == 3, "two lines under one nonce tell each other"
    digests = SEAL.digests([RAW, b"other", RAW])
    assert digests[0] == digests[2] != digests[1]
    assert digests[0] not in {hashlib.md5(RAW, usedforsecurity=False).digest(), hashlib.sha256(RAW).digest()[:16]}
    assert Seal("b key").digests([RAW]) != digests[:1]
