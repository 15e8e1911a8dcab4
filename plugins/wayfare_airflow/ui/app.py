"""The pages under /wayfare: closed by default, read-only, without scripts.

The Content-Security-Policy takes scripting, forms and everything remote from every page: nothing that an event holds
can run. `allow-same-origin` keeps the session's cookie on the links between pages.
"""

import pathlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis
from wayfare.errors import ConfigurationError, DeclarationError, ServiceError
from wayfare.quality import docs
from wayfare.settings import get_settings
from wayfare.storage import read_text
from wayfare_airflow.ui import data
from wayfare_airflow.ui.access import authorize

HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ChunkKey = Annotated[str, Path(pattern=r"^[0-9a-z_-]+$")]

_templates = Environment(
    loader=FileSystemLoader(pathlib.Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
app = FastAPI(title="Wayfare", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(authorize)])


@app.middleware("http")
async def _harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


@app.exception_handler(psycopg.OperationalError)
def _no_database(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("PostgreSQL does not answer; try again", status_code=503)


@app.exception_handler(psycopg.errors.QueryCanceled)
def _too_slow(_request: Request, _error: Exception) -> Response:
    sentence = f"PostgreSQL took longer than {data.STATEMENT_TIMEOUT}; try again, or query the view from a BI tool"
    return PlainTextResponse(sentence, status_code=503)


@app.exception_handler(ConfigurationError)
def _not_set_up(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=503)


@app.exception_handler(ServiceError)
def _no_storage(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("the storage does not answer; try again", status_code=503)


@app.get("/marts")
def marts(request: Request) -> HTMLResponse:
    """Every mart and how fresh it is."""
    published = data.publications(get_settings())
    return _page(request, "marts.html", analyses=registry.analyses(), published=published)


@app.get("/marts/{analysis}")
def mart(request: Request, analysis: str) -> HTMLResponse:
    """One mart: its columns, and its last rows."""
    declared, settings = _declared(analysis), get_settings()
    view = declared.relation
    columns = data.columns(settings, view)
    rows = data.rows(settings, view, declared) if columns else []
    return _page(request, "mart.html", analysis=declared, view=view, columns=columns, rows=rows, limit=data.ROWS_SHOWN)


@app.get("/docs/index.html")
def docs_index() -> HTMLResponse:
    """The list of Data Docs pages."""
    return _data_docs(docs.index_url(get_settings().storage))


@app.get("/docs/validations/{analysis}/{gate}/{chunk}/index.html")
def docs_page(analysis: str, gate: Literal["input", "output"], chunk: ChunkKey) -> HTMLResponse:
    """The Data Docs page of one validation."""
    return _data_docs(docs.page_url(get_settings().storage, _declared(analysis).name, gate, chunk))


def _data_docs(url: str) -> HTMLResponse:
    try:
        return HTMLResponse(read_text(url))
    except FileNotFoundError:
        raise HTTPException(404, "no such Data Docs page: it is not written yet, or has been pruned") from None


def _declared(analysis: str) -> BehaviorAnalysis:
    try:
        return registry.get(analysis)
    except DeclarationError as error:
        detail = f"{error}\nThe api-server finds what was added or changed since it started after a restart"
        raise HTTPException(404, detail) from None


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return HTMLResponse(_templates.get_template(template).render(root=root, **values))
