"""The whole installation on one machine: database, Airflow, and their accounts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.local import accounts, airflow
from wayfare.local.home import logs, pid_file, ui
from wayfare.local.postgres import EmbeddedPostgres
from wayfare.local.secrets import Secrets, load_or_make, remember_urls
from wayfare.local.supervisor import Supervisor, remember, remembered, stop_leftovers
from wayfare.settings import Settings, get_settings
from wayfare.staging import database

if TYPE_CHECKING:
    from collections.abc import Callable

_START_SECONDS = 180
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Stack:
    """What runs, where to look at it, and how to stop it."""

    settings: Settings
    postgres: EmbeddedPostgres
    secrets: Secrets
    undo: contextlib.ExitStack

    @property
    def ui(self) -> str:
        """Address of the Airflow UI."""
        return ui(self.settings.port)

    @property
    def bi_url(self) -> str:
        """Connection string of the read-only BI role."""
        return self.postgres.url(user="wayfare_bi", password=self.secrets.bi)

    def stop(self) -> None:
        """Stop Airflow, then the database."""
        self.undo.close()


def start(settings: Settings, say: Callable[[str], None]) -> Stack:
    """Start everything and wait until Airflow answers; `say` gets a sentence for each step.

    Raises
    ------
    ConfigurationError
        Another installation runs in this home, or a port is taken.
    ServiceError
        Something did not start; the message says which log to read.
    """
    with contextlib.ExitStack() as undo:
        _claim(settings, undo)
        secrets = load_or_make(settings.home)
        postgres = EmbeddedPostgres(settings.home / "postgres", settings.database_port, secrets.owner)
        if not postgres.running():
            _require_free(settings.database_port, "WAYFARE_DATABASE_PORT")
            say("Starting PostgreSQL")
        undo.callback(postgres.stop)
        postgres.start()
        if postgres.recovering():  # it would begin anew if it were stopped
            say("Waiting for PostgreSQL to recover from an unclean shutdown")
        while postgres.recovering():
            time.sleep(1)
        settings = _prepare_databases(settings, postgres, secrets)
        supervisor = _supervisor(settings, postgres, secrets, say)
        undo.callback(supervisor.stop)
        supervisor.start()
        _wait_for_airflow(settings)
        return Stack(settings, postgres, secrets, undo.pop_all())


def _supervisor(
    settings: Settings, postgres: EmbeddedPostgres, secrets: Secrets, say: Callable[[str], None]
) -> Supervisor:
    """What will run Airflow, whose metadata is up to date then."""
    airflow.write_login(settings.home, secrets.admin)
    environment = airflow.environment(
        settings.home, postgres.url("airflow", "airflow", secrets.airflow), settings.port, secrets
    )
    say("Migrating Airflow's metadata")
    airflow.migrate(settings.home, environment)
    say("Starting Airflow: " + ", ".join(airflow.PROCESSES))
    return Supervisor(
        {name: airflow.command(name) for name in airflow.PROCESSES},
        environment,
        logs(settings.home),
        on_restart=lambda name, code: say(f"{name} ended with status {code}; started it again"),
        keep_alive=lambda: _revive(postgres, say),
    )


def stop_running(settings: Settings) -> bool:
    """Stop the installation that runs in this home, or what is left of one; False if there is nothing.

    Raises
    ------
    ServiceError
        It does not end within `_STOP_SECONDS`.
    """
    process = remembered(pid_file(settings.home))
    if process is None:
        postgres = EmbeddedPostgres(settings.home / "postgres", settings.database_port, password="")
        was_running = postgres.running()
        postgres.stop()
        return stop_leftovers(logs(settings.home)) > 0 or was_running
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except psutil.TimeoutExpired:
        raise ServiceError(f"process {process.pid} did not stop within {_STOP_SECONDS} s") from None
    return True


def _revive(postgres: EmbeddedPostgres, say: Callable[[str], None]) -> None:
    if postgres.running():
        return
    try:
        postgres.start()
    except ServiceError as error:
        say(str(error))
    else:
        say("PostgreSQL ended; started it again")


def _claim(settings: Settings, undo: contextlib.ExitStack) -> None:
    """Take the home for one installation until `undo`, or until its process ends, however it does."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(settings.home, os.O_RDONLY)
    undo.callback(os.close, folder)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            f"Wayfare already runs here: {ui(settings.port)}; stop it with `wayfare down`"
        ) from None
    made = settings.home.stat()
    if made.st_uid == os.geteuid() and not made.st_mode & stat.S_ISVTX:  # set on shared folders, like /tmp
        settings.home.chmod(0o700)
    stop_leftovers(logs(settings.home))
    _require_free(settings.port, "WAYFARE_PORT")
    remember(pid_file(settings.home), psutil.Process())
    undo.callback(pid_file(settings.home).unlink, missing_ok=True)


def _require_free(port: int, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(f"port {port} is taken; set {variable} to a free one") from None


def _prepare_databases(settings: Settings, postgres: EmbeddedPostgres, secrets: Secrets) -> Settings:
    """Create both databases and every account; the settings then know their URLs."""
    accounts.create_databases(postgres.url())
    urls = {
        "database_url": postgres.url(),
        "landing_url": postgres.url(user="wayfare_landing", password=secrets.landing),
        "pipeline_url": postgres.url(user="wayfare_pipeline", password=secrets.pipeline),
        "bi_url": postgres.url(user="wayfare_bi", password=secrets.bi),
    }
    # Whoever takes the port while this is down might ask for a password in clear text: with these, libpq refuses.
    urls = {name: f"{url}?require_auth=scram-sha-256" for name, url in urls.items()}
    remember_urls(settings.home, {f"WAYFARE_{name.upper()}": url for name, url in urls.items()})
    get_settings.cache_clear()
    settings = get_settings()
    if elsewhere := [name for name, url in urls.items() if getattr(settings, name).get_secret_value() != url]:
        names = ", ".join(f"WAYFARE_{name.upper()}" for name in elsewhere)
        raise ConfigurationError(
            f"{names}: not the server that `wayfare up` starts; remove it from the environment and .env, or run "
            "Airflow on that server yourself (docs/operations.md, On servers of your own)"
        )
    database.migrate(settings)
    passwords = {role: getattr(secrets, role.removeprefix("wayfare_")) for role in accounts.ROLES}
    accounts.set_passwords(postgres.url(), passwords)
    return settings


def _wait_for_airflow(settings: Settings) -> None:
    """Wait until every component reports itself healthy, by the body of the health page."""
    deadline = time.monotonic() + _START_SECONDS
    waiting = "api-server"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{ui(settings.port)}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(0.5)
            continue
        ill = [name for name, state in health.items() if (state or {}).get("status") != "healthy"]
        if not ill:
            return
        waiting = ", ".join(ill)
        time.sleep(0.5)
    raise ServiceError(f"Airflow is not healthy after {_START_SECONDS} s ({waiting}): read {logs(settings.home)}")
