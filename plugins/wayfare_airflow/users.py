"""The UI's users of a shared installation, under the FAB auth manager: an admin, an analyst and a viewer.

An analyst sees everything a viewer sees, and may trigger, clear and mark runs, and pause DAGs. Run as
`python -m wayfare_airflow.users` after Airflow's metadata is migrated; passwords come from the environment, and a
changed one takes effect.
"""

from __future__ import annotations

import os
import sys

USERS = {"admin": "Admin", "analyst": "Analyst", "viewer": "Viewer"}
"""Role of each user, whose password is in `AIRFLOW_<USER>_PASSWORD`."""


def main() -> int:
    """Create or update roles and users; the exit status is 1 if a password is missing."""
    passwords = {name: os.environ.get(f"AIRFLOW_{name.upper()}_PASSWORD", "") for name in USERS}
    missing = [f"AIRFLOW_{name.upper()}_PASSWORD" for name, password in passwords.items() if not password]
    if missing:
        sys.stderr.write(f"set {', '.join(missing)}: users have no default password\n")
        return 1
    _write(passwords)
    return 0


def _write(passwords: dict[str, str]) -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.providers.fab.www.security import permissions

    may = [
        (action, resource)
        for action in (permissions.ACTION_CAN_CREATE, permissions.ACTION_CAN_EDIT)
        for resource in (permissions.RESOURCE_DAG_RUN, permissions.RESOURCE_TASK_INSTANCE)
    ]
    # without it FAB lets nobody touch a run of the DAG; it also allows to pause one
    may.append((permissions.ACTION_CAN_EDIT, permissions.RESOURCE_DAG))
    with get_application_builder() as builder:
        security = builder.sm
        security.sync_roles()
        role = security.add_role("Analyst")
        for action, resource in [*security.VIEWER_PERMISSIONS, *may]:
            security.add_permission_to_role(role, security.create_permission(action, resource))
        for name, role_name in USERS.items():
            user = security.find_user(name)
            if user is None:
                address = f"{name}@wayfare.invalid"
                role = security.find_role(role_name)
                security.add_user(name, name.capitalize(), "Wayfare", address, role, password=passwords[name])
            elif not security.check_password(name, passwords[name]):
                security.reset_password(user.id, passwords[name])


if __name__ == "__main__":
    sys.exit(main())
