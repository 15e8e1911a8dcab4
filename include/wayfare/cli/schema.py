"""`wayfare schema`: the events as producers must write them, for tools that read JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def schema(
    event_type: Annotated[
        str | None, typer.Argument(help="One event type; none: a schema that any event fits.")
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of one event type, or of all of them."""
    from wayfare.contracts import json_schema

    typer.echo(json.dumps(json_schema(event_type), indent=2, ensure_ascii=False))
