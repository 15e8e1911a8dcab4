"""Databases and accounts, made by several machines at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg

from wayfare.local import accounts, postgres

MACHINES = 6


def test_several_machines_make_them_at_once() -> None:
    passwords = dict.fromkeys(accounts.ROLES, "secret-of-this-test")
    with postgres.temporary_server() as server, ThreadPoolExecutor(MACHINES) as machines:
        together = Barrier(MACHINES)

        def make() -> None:
            together.wait()
            accounts.create_databases(server.url())
            together.wait()
            accounts.set_passwords(server.url(), passwords)

        for made in [machines.submit(make) for _ in range(MACHINES)]:
            try:
                made.result()
            except BaseException:
                together.abort()
                raise
        with psycopg.connect(server.url("airflow", "airflow", passwords["airflow"])) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("airflow",)
