"""Write .env with generated secrets for docker-compose.yaml; what is there already stays."""

from __future__ import annotations

import base64
import os
import re
import secrets
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Append a secret for every `${NAME:?...}` that the compose file asks for and .env lacks or leaves empty."""
    wanted = sorted(set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yaml").read_text())))
    file = PROJECT / ".env"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+") as env:
        text = env.read()
        known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)  # of two, the latter holds
        if text and not text.endswith("\n"):
            env.write("\n")
        for name in wanted:
            if not known.get(name, "").strip("\"' "):
                key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
                env.write(f"{name}={key if 'FERNET' in name else secrets.token_urlsafe(24)}\n")
    file.chmod(0o600)


if __name__ == "__main__":
    main()
