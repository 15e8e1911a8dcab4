"""Sealing what is kept of refused lines, which hold customer ids as they came, where customers are pseudonymized."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wayfare.settings import Settings

_NONCE_BYTES = 12
_DIGEST_BYTES = 16


class Seal:
    """Seals lines with AES-256-GCM under a key that follows from `WAYFARE_CUSTOMER_KEY`.

    A sealed line opens only where it was sealed: in the row of its source, format and line number. Nonces are random,
    which is sound for 2^32 lines under one key.
    """

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(_derived(key, b"wayfare rejected line"))
        self._digest_key = _derived(key, b"wayfare digest of a rejected line")

    def seal(self, raws: list[bytes], lines: Iterable[int], source: str, form: str, header: str | None) -> list[bytes]:
        """Each of the `raws`, together with the header that names its cells."""
        nonces = os.urandom(_NONCE_BYTES * len(raws))
        sealed = []
        for i, (raw, line) in enumerate(zip(raws, lines, strict=True)):
            nonce = nonces[i * _NONCE_BYTES : (i + 1) * _NONCE_BYTES]
            kept = msgspec.msgpack.encode((header, raw))
            sealed.append(nonce + self._cipher.encrypt(nonce, kept, _row(source, form, line)))
        return sealed

    def open(self, sealed: bytes, line: int, source: str, form: str) -> tuple[str | None, bytes] | None:
        """The header and the raw line; None where they were sealed under another key, or for another row."""
        nonce, kept = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened = self._cipher.decrypt(nonce, kept, _row(source, form, line))
        except (InvalidTag, ValueError):  # cut off within its nonce
            return None
        return msgspec.msgpack.decode(opened, type=tuple[str | None, bytes])

    def digests(self, raws: list[bytes]) -> list[bytes]:
        """HMAC-SHA256 of each, 16 bytes of it: equal lines are known as equal, and nothing else is."""
        return [hmac.digest(self._digest_key, raw, "sha256")[:_DIGEST_BYTES] for raw in raws]


def seal_of(settings: Settings) -> Seal | None:
    """The seal of an installation that pseudonymizes its customers."""
    key = settings.customer_key
    return Seal(key.get_secret_value()) if key else None


def _derived(key: str, label: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=label).derive(key.encode())


def _row(source: str, form: str, line: int) -> bytes:
    return f"{source}\0{form}\0{line}".encode()
