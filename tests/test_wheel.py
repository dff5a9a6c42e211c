"""What is shipped: the wheel has all that the server needs beside its code."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    folder: Path = tmp_path_factory.mktemp("wheel")
    subprocess.run(["make", "wheel", f"WHEELS={folder}"], cwd=ROOT, check=True, timeout=100)
    (wheel,) = folder.glob("cli_server-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.needs("webui")
def test_the_web_ui_is_in_it_whole(names: set[str]) -> None:
    webroot = ROOT / "daemon" / "webroot"
    built = {f"daemon/webroot/{path.relative_to(webroot)}" for path in webroot.rglob("*") if path.is_file()}
    assert "daemon/webroot/index.html" in built
    assert built <= names
    assert {name for name in names if name.startswith("daemon/webroot/")} <= built, "nothing of an older build"


def test_what_is_read_at_run_time_is_in_it(names: set[str]) -> None:
    read = [*ROOT.glob("daemon/**/*.sql"), *ROOT.glob("daemon/**/*.css")]
    wanted = {str(path.relative_to(ROOT)) for path in read if "webroot" not in path.parts}
    assert wanted
    assert wanted <= names


def test_nothing_else_is_in_it(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"protocol", "backends", "daemon"}
    assert not [name for name in names if "node_modules" in name or name.endswith((".tsx", ".pyc"))]
