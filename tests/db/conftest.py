"""Data directories for the tests of the embedded PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.db.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def empty_data_dir(scratch: Path) -> Iterator[Path]:
    """A private data directory; not below pytest's, whose parents nobody else may pass."""
    path = Path(tempfile.mkdtemp(dir=scratch))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def made_database(scratch: Path) -> Path:
    """The files of an embedded database after its first start."""
    path = scratch / "made"
    path.mkdir(mode=0o700)

    async def make() -> None:
        async with EmbeddedPostgres.open(path):
            pass

    trio.run(make)
    return path / "postgres"


@pytest.fixture
def data_dir(empty_data_dir: Path, made_database: Path) -> Path:
    """A data directory with a copy of these files, which is quicker than making them each time."""
    shutil.copytree(made_database, empty_data_dir / "postgres")
    owner = made_database.stat()
    for folder, _, files, fd in os.fwalk(empty_data_dir / "postgres"):
        os.chown(folder, owner.st_uid, owner.st_gid)
        for name in files:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=fd)
    return empty_data_dir
