"""The version of what runs."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("cli-server")
    except metadata.PackageNotFoundError:  # run from a source tree that nobody installed
        return "unknown"
