"""What `wayfare migrate` does: databases, accounts and Airflow's metadata on servers of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wayfare.errors import ConfigurationError
from wayfare.local import accounts, airflow
from wayfare.staging import database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wayfare.settings import Settings


def prepare(settings: Settings, environment: Mapping[str, str]) -> None:
    """Create or extend the schema, the accounts and Airflow's metadata.

    Each account's password is in `environment`. The UI's users are written where its auth manager is FAB's.

    Raises
    ------
    ConfigurationError
        A password, the owner's URL or the address of Airflow's metadata is missing, or the owner may not do this.
    ServiceError
        PostgreSQL does not answer, or Airflow failed.
    """
    passwords = {role: environment.get(f"{role.upper()}_PASSWORD", "") for role in accounts.ROLES}
    if missing := [f"{role.upper()}_PASSWORD" for role, password in passwords.items() if not password]:
        raise ConfigurationError(f"set {', '.join(missing)}: accounts have no default password")
    airflow.require_metadata(environment)
    owner = settings.url("owner")
    accounts.create_databases(owner)
    database.migrate(settings)
    accounts.set_passwords(owner, passwords)
    airflow.migrate(settings.home, environment)
    if "FabAuthManager" in environment.get("AIRFLOW__CORE__AUTH_MANAGER", ""):
        airflow.write_users(environment)
