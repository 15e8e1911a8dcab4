"""The roles: each connects, may do its work, and nothing beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

_RIGHTS = {
    "landing": {
        "staging.*": "SELECT INSERT",
        "control.*": "SELECT",
        "control.batch": "SELECT INSERT",
        "control.change": "SELECT INSERT",
    },
    "pipeline": {
        "staging.*": "SELECT",
        "control.*": "SELECT",
        "control.producer": "",
        "control.change": "SELECT INSERT DELETE",
        "control.quarantine": "SELECT INSERT UPDATE DELETE",
        "control.validation": "SELECT INSERT UPDATE DELETE",
        "control.publication": "SELECT INSERT UPDATE DELETE",
        "control.published_day": "SELECT INSERT UPDATE DELETE",
    },
    "bi": {"bi.*": "SELECT"},
}
"""What a role may do to tables and views, as migrating and publishing grant it; its own it may do anything to."""

_CREATES = {"pipeline": ["marts", "bi"]}
"""Schemas in which a role creates, and owns what publishing makes: the marts' tables and their views."""

_PRIVILEGES = text("""
SELECT nspname, relname, privilege,
  usable AND has_table_privilege(CAST(:role AS name), c.oid, privilege) AS whole,
  usable AND CASE WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER')
    THEN has_table_privilege(CAST(:role AS name), c.oid, privilege)
    ELSE EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
      AND has_column_privilege(CAST(:role AS name), attrelid, attnum, privilege)
      AND (c.oid::regclass::text, privilege, attname = ANY (:renewed)) <> ('staging.rejection', 'UPDATE', TRUE))
    END AS some
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
CROSS JOIN has_schema_privilege(CAST(:role AS name), n.oid, 'USAGE') AS usable
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) privilege
WHERE nspname IN ('staging', 'control', 'marts', 'bi') AND relkind IN ('r', 'p', 'v', 'm')
ORDER BY 1, 2, 3
""")
# What is granted of a table's columns, and of the database.
_LACKS = text("""
SELECT 'make temporary tables' WHERE :is_writer
  AND NOT has_database_privilege(CAST(:role AS name), current_database(), 'TEMPORARY')
UNION ALL
SELECT format('UPDATE staging.rejection (%I)', attname)
FROM unnest(CAST(:renewed AS text[])) AS attname
WHERE NOT has_column_privilege(CAST(:role AS name), 'staging.rejection', attname, 'UPDATE')
""")
_OTHERS = text("""
SELECT c.oid::regclass::text AS found, relowner::regrole::text AS owner,
  format('ALTER %s %s OWNER TO %I', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass,
    CAST(:role AS name)) AS fix
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE (nspname, relkind) IN (('marts', 'r'), ('bi', 'v')) AND nspname = ANY (:creates)
  AND NOT pg_has_role(CAST(:role AS name), relowner, 'USAGE')
  AND EXISTS (SELECT FROM pg_class mart WHERE mart.relnamespace = to_regnamespace('marts')
    AND c.relname IN (mart.relname, mart.relname || '_history'))
ORDER BY nspname DESC, relname
""")
# What reaches past tables: found, and the statement that takes it away.
_BEYOND = text("""
SELECT 'may CREATE in schema ' || nspname AS found,
  format('REVOKE CREATE ON SCHEMA %I FROM %I, or from what it is a member of', nspname, CAST(:role AS name)) AS fix
FROM pg_namespace
WHERE nspname IN ('staging', 'control', 'marts', 'bi', 'public') AND nspname <> ALL (:creates)
  AND has_schema_privilege(CAST(:role AS name), oid, 'CREATE')
UNION ALL
SELECT 'may CREATE schemas',
  format('REVOKE CREATE ON DATABASE %I FROM %I, or from what it is a member of',
    current_database(), CAST(:role AS name))
WHERE has_database_privilege(CAST(:role AS name), current_database(), 'CREATE')
UNION ALL
SELECT 'may make temporary tables',
  format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC (`wayfare migrate` does), %I and what it is a member of',
    current_database(), CAST(:role AS name))
WHERE NOT :is_writer AND has_database_privilege(CAST(:role AS name), current_database(), 'TEMPORARY')
UNION ALL
SELECT 'may connect to the database airflow',
  format('REVOKE CONNECT ON DATABASE airflow FROM PUBLIC (`wayfare migrate` does), %I and what it is a member of',
    CAST(:role AS name))
FROM pg_database WHERE datname = 'airflow' AND has_database_privilege(CAST(:role AS name), oid, 'CONNECT')
UNION ALL
SELECT 'has ' || attribute, format('ALTER ROLE %I NO%s', rolname, attribute)
FROM pg_roles, LATERAL (VALUES ('SUPERUSER', rolsuper), ('CREATEROLE', rolcreaterole), ('CREATEDB', rolcreatedb),
  ('REPLICATION', rolreplication), ('BYPASSRLS', rolbypassrls)) AS given (attribute, is_given)
WHERE is_given AND pg_has_role(CAST(:role AS name), oid, 'MEMBER')
UNION ALL
SELECT format('is a member of %s', roleid::regrole), format('REVOKE %s FROM %s', roleid::regrole, member::regrole)
FROM pg_auth_members
WHERE starts_with(roleid::regrole::text, 'pg_') AND NOT starts_with(member::regrole::text, 'pg_')
  AND pg_has_role(CAST(:role AS name), member, 'MEMBER')
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
            return failed(check, f"{name} cannot connect: {first_line(error)}", fix)
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
    creates = _CREATES.get(role, [])
    kind = {"role": name, "creates": creates, "is_writer": role != "bi"}
    if more := connection.execute(_BEYOND, kind).first():
        return failed(check, f"{name} {more.found}", more.fix)
    return _of_tables(connection, check, role, kind) or _owned_by_others(connection, check, name, creates)


def _of_tables(connection: Connection, check: str, role: str, kind: dict[str, Any]) -> Finding | None:
    name, granting = kind["role"], "run `wayfare migrate`, which grants it"
    given = {**kind, "renewed": list(database.RENEWED) if role == "landing" else []}
    if (lacking := connection.scalar(_LACKS, given)) is not None:
        return failed(check, f"{name} may not {lacking}", granting)
    for schema, table, privilege, whole, some in connection.execute(_PRIVILEGES, given):
        rights = _RIGHTS[role].get(f"{schema}.{table}", _RIGHTS[role].get(f"{schema}.*", "")).split()
        if some and privilege not in rights and schema not in kind["creates"]:
            fix = f"REVOKE {privilege} ON {schema}.{table} FROM {name}, or from what it is a member of"
            return failed(check, f"{name} may {privilege} {schema}.{table}", fix)
        if not whole and privilege in rights:
            return failed(check, f"{name} may not {privilege} {schema}.{table}", granting)
    return None


def _owned_by_others(connection: Connection, check: str, name: str, creates: list[str]) -> Finding | None:
    others = connection.execute(_OTHERS, {"role": name, "creates": creates}).all()
    if not others:
        return None
    found = f"{name} cannot publish {others[0].found}: it belongs to {others[0].owner}, who published it before"
    return failed(check, found, "; ".join(other.fix for other in others))


def first_line(error: SQLAlchemyError) -> str:
    """The driver's first line, which holds no password."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
