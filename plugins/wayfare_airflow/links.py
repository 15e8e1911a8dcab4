"""Links from task instances to Wayfare's pages in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from wayfare.analyses.chunk import Chunk

PREFIX = "/wayfare"
"""Where the UI app is mounted."""


def page(path: str) -> str:
    """Path of one of Wayfare's pages.

    Without a host: links are kept with the run, and people reach one UI by several names, each with a login of its own.
    """
    return f"{urlsplit(conf.get('api', 'base_url', fallback='/')).path.rstrip('/')}{PREFIX}/{path}"


@attrs.define
class DataDocsLink(BaseOperatorLink):
    """From a gate, `input` or `output`, to its Data Docs page; the page is there also when the gate refused."""

    gate: str
    name = "Data Docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the page of the chunk's validation."""
        chunk = _chunk_of(operator)
        return page(f"docs/validations/{chunk.analysis}/{self.gate}/{chunk.key}/index.html")


class MartLink(BaseOperatorLink):
    """From publish to what it published."""

    name = "Mart"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the mart."""
        chunk = _chunk_of(operator)
        return page(f"marts/{chunk.analysis}")


def _chunk_of(operator: BaseOperator) -> Chunk:
    from wayfare_airflow.operators.chunk import read_chunk  # imported late: the operators import their links from here

    return read_chunk(operator.chunk)  # type: ignore[attr-defined]  # only chunk operators carry these links
