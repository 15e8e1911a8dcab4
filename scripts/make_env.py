"""Write .env with generated secrets for docker-compose.yaml; what is there already stays."""

from __future__ import annotations

import base64
import os
import re
import secrets
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Add a secret for every `${NAME:?...}` that the compose file asks for and .env lacks or leaves empty.

    An existing file is replaced, not written to: others may have it open.
    """
    wanted = sorted(set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yaml").read_text())))
    file = (PROJECT / ".env").resolve()
    text = file.read_text() if file.exists() else ""
    known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)  # of two, the latter holds
    descriptor, temporary = tempfile.mkstemp(prefix=".env.", dir=file.parent)  # for its owner alone
    with os.fdopen(descriptor, "w") as env:
        env.write(text if not text or text.endswith("\n") else f"{text}\n")
        for name in wanted:
            if not known.get(name, "").strip("\"' "):
                key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
                env.write(f"{name}={key if 'FERNET' in name else secrets.token_urlsafe(24)}\n")
    Path(temporary).replace(file)


if __name__ == "__main__":
    main()
