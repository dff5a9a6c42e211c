"""What keeps the daemon from starting: one line that names the setting or the file, and what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from daemon.app import run_daemon
from daemon.config import load
from daemon.start import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


async def _refused(tmp_path: Path, **given: str) -> str:
    env = {"DATA_DIR": str(tmp_path / "data"), "LISTEN": "127.0.0.1:0", "METRICS_LISTEN": "off"} | given
    with pytest.raises((StartError, ExceptionGroup)) as caught:
        await run_daemon(load(env))
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):  # of the nurseries around it; the command line looks into them, too
        (error,) = error.exceptions
    assert isinstance(error, StartError)
    return str(error)


async def test_an_address_that_is_taken(tmp_path: Path, taken: str) -> None:
    line = await _refused(tmp_path, LISTEN=taken)
    assert line == f"LISTEN {taken} cannot be used (Address already in use); choose another one"
    assert not (tmp_path / "data").exists(), "nothing was begun"


async def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    line = await _refused(tmp_path, LISTEN="nowhere.invalid:80")
    assert line.startswith("LISTEN nowhere.invalid:80 cannot be used (")


async def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert await _refused(tmp_path) == f"DATA_DIR {tmp_path / 'data'} is not a directory; choose another one"


@pytest.mark.needs("postgres")
async def test_a_key_that_is_damaged_is_not_replaced(tmp_path: Path, database_url: str) -> None:
    key = tmp_path / "data" / "secret.key"
    key.parent.mkdir()
    key.write_bytes(b"short")
    line = await _refused(tmp_path, DATABASE_URL=database_url)
    assert line == f"{key} holds 5 bytes, not a key of 32; restore it from a backup"
    assert key.read_bytes() == b"short"
    key.unlink()
    key.mkdir()
    assert "restore it from a backup" in await _refused(tmp_path, DATABASE_URL=database_url)
