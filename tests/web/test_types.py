"""What the web UI knows of the API is what the API is."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "webui" / "src" / "api"
NAMES = ("schema.gen.ts", "roles.gen.ts", "faults.gen.ts")


@pytest.mark.parametrize("name", NAMES)
def test_the_types_are_not_stale(name: str, written: Path) -> None:
    made = (written / name).read_text()
    assert (FOLDER / name).read_text() == made, f"{name} is not what the API is now; write it anew: make types"


def test_a_change_of_the_api_would_be_seen(written: Path) -> None:
    """The check above compares with something that is made of the API, and that is not empty."""
    schema = (written / "schema.gen.ts").read_text()
    assert '"/api/workspaces/{workspaceId}/sandboxes"' in schema
    assert "statusReason: string | null" in schema
    assert '"open_sandbox"' in (written / "roles.gen.ts").read_text()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, made anew."""
    folder = tmp_path_factory.mktemp("types")
    command = [sys.executable, str(ROOT / "scripts" / "write_types.py"), str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return folder
