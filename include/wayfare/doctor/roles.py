"""The roles: each connects, may do its work, and nothing beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from wayfare.doctor.findings import Finding, failed, info, ok
from wayfare.staging import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr
    from sqlalchemy import Connection

    from wayfare.settings import Settings

_Rule = tuple[str, str, str]
"""Schema, table (or `*` for all of them) and privilege."""

_NEEDS: dict[str, tuple[_Rule, ...]] = {
    "landing": (
        ("staging", "*", "INSERT"),
        ("staging", "rejection", "UPDATE"),
        ("control", "batch", "INSERT"),
        ("control", "change", "INSERT"),
    ),
    "pipeline": (("staging", "*", "SELECT"), ("control", "publication", "INSERT"), ("marts", "*", "INSERT")),
    "bi": (("bi", "*", "SELECT"),),
}
_NEVER: dict[str, tuple[_Rule, ...]] = {
    "landing": (("marts", "*", "SELECT"), ("bi", "*", "SELECT"), ("staging", "*", "DELETE")),
    "pipeline": (("staging", "*", "INSERT"), ("staging", "*", "DELETE")),
    "bi": (
        ("staging", "*", "SELECT"),
        ("control", "*", "SELECT"),
        ("marts", "*", "SELECT"),
        ("bi", "*", "INSERT"),
    ),
}

_PRIVILEGES = text("""
SELECT nspname, relname, privilege, has_schema_privilege(CAST(:role AS name), n.oid, 'USAGE')
  AND has_table_privilege(CAST(:role AS name), c.oid, privilege) AS granted
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
WHERE nspname IN ('staging', 'control', 'marts', 'bi') AND relkind IN ('r', 'p', 'v', 'm')
ORDER BY 1, 2
""")


def examine(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Findings about the roles, over a connection of any of them."""
    urls = {"landing": settings.landing_url, "pipeline": settings.pipeline_url, "bi": settings.bi_url}
    for role, url in urls.items():
        yield _role(connection, role, url)


def _role(connection: Connection, role: str, url: SecretStr | None) -> Finding:
    check, name = f"role.{role}", f"wayfare_{role}"
    if url is None and role != "bi":
        return info(check, f"WAYFARE_{role.upper()}_URL is not set: {role} works as the owner")
    if url is not None:
        place = make_url(url.get_secret_value()).update_query_dict({"connect_timeout": "5"})
        name = place.username or name
        engine = database.engine(place.render_as_string(hide_password=False))
        try:
            engine.connect().close()
        except SQLAlchemyError as error:
            fix = f"correct WAYFARE_{role.upper()}_URL, or set the password of {name} (`wayfare migrate` does)"
            return failed(check, f"{name} cannot connect: {told(error)}", fix)
        finally:
            engine.dispose()
    fault = _fault(connection, check, role, name)
    if fault is not None:
        return fault
    tried = "connects and has" if url else "(not tried: WAYFARE_BI_URL is not set) has"
    return ok(check, f"{name} {tried} the rights it needs and no other")


def _fault(connection: Connection, check: str, role: str, name: str) -> Finding | None:
    is_superuser = connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": name})
    if is_superuser is None:
        return failed(check, f"there is no role {name}", "run `wayfare migrate`, which makes it")
    if is_superuser:
        fix = f"name another role in WAYFARE_{role.upper()}_URL, one that is a member of wayfare_{role}"
        return failed(check, f"{name} is a superuser, who may do anything", fix)
    granted = {tuple(row[:3]): row[3] for row in connection.execute(_PRIVILEGES, {"role": name})}
    for (schema, table, privilege), is_granted in granted.items():
        if is_granted and _applies(_NEVER[role], schema, table, privilege):
            fix = f"REVOKE {privilege} ON {schema}.{table} from {name} and from what it is a member of"
            return failed(check, f"{name} may {privilege} {schema}.{table}", fix)
        if not is_granted and _applies(_NEEDS[role], schema, table, privilege):
            mine = f"ALTER TABLE marts.{table} OWNER TO {name}: somebody else published it before"
            fix = mine if schema == "marts" else "run `wayfare migrate`, which grants it"
            return failed(check, f"{name} may not {privilege} {schema}.{table}", fix)
    return None


def _applies(rules: tuple[_Rule, ...], schema: str, table: str, privilege: str) -> bool:
    return any((schema, of, privilege) in rules for of in (table, "*"))


def told(error: SQLAlchemyError) -> str:
    """The driver's first line, which holds no password."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
