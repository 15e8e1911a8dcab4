"""What Airflow learns from the installed package: that its object storage, and with it its XComs, may be on s3://.

Airflow's own way to s3:// is its Amazon provider, which brings 13 packages for the rest of AWS along. This is s3fs, by
the same settings in the environment that the pipeline's own files are found with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec

from wayfare.errors import ConfigurationError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

schemes = ("s3",)


def provider_info() -> dict[str, Any]:
    """What the entry point `apache_airflow_provider` is to return."""
    return {
        "package-name": "wayfare",
        "name": "Wayfare",
        "description": "Behavior analytics for travel agencies.",
        "filesystems": [__name__],
    }


def get_fs(conn_id: str | None) -> AbstractFileSystem:
    """The filesystem of `schemes`, as Airflow asks for it.

    Raises
    ------
    ConfigurationError
        The path names one of Airflow's connections.
    """
    if conn_id:
        raise ConfigurationError(f"s3:// is set up by the environment (AWS_*): leave {conn_id}@ out of the path")
    return fsspec.filesystem("s3")
