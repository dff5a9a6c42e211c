"""The documents say what the code does. Metrics are compared in test_metrics.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon.config import SETTINGS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docker/*.md"),
        *ROOT.glob("charts/*/*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "protocol").glob("*.md"),
    ]
)

# What the docs may set besides the server's settings: make's variables, the CI's, and psql's.
OTHERS = {"CI", "ARGS", "WORKERS", "PYTHON", "OPENCODE_BIN", "VARIANT", "ON_ERROR_STOP"}


def test_the_table_of_settings_has_the_settings_of_the_code() -> None:
    """Style: the names in code and docs are the same set."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    expected = []
    for setting in SETTINGS:
        meaning = setting.help[0].upper() + setting.help[1:]
        default = f"`{setting.default}`" if setting.default and not setting.derived else setting.default_text
        expected.append((setting.variable, meaning, setting.accepted, default))
    assert rows == expected, "docs/configuration.md and daemon/config.py differ"


def test_the_list_of_files_has_the_secrets_of_the_code() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    listed = text.partition("The files that there can be:")[2].partition(". ")[0]
    expected = [setting.file_variable for setting in SETTINGS if setting.secret]
    assert re.findall(r"`([A-Z_]+)`", listed) == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_that_documents_name_exist(document: Path) -> None:
    known = {setting.variable for setting in SETTINGS}
    known |= {setting.file_variable for setting in SETTINGS if setting.secret}
    known |= set(re.findall(r"^#?([A-Z_]+)=", (ROOT / "docker" / ".env.example").read_text(), re.MULTILINE))
    # With an equals sign: how somebody is told to set one.
    for name in re.findall(r"\b([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*)=", document.read_text()):
        assert name in known or name in OTHERS, f"{document.name} sets {name}"


def test_the_commands_of_the_readme_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert {"setup", "run", "test", "check", "bench"} <= targets
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z][a-z-]*)|^make ([a-z][a-z-]*)", document.read_text(), re.MULTILINE):
            assert set(target) - {""} <= targets, f"{document.name} names make {target}"


def test_ci_runs_the_checks_and_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (?:check|test)$", script, re.MULTILINE) == ["make check", "make test"]
    assert script.rstrip().endswith("make test")
    assert "make test " in (ROOT / "README.md").read_text()
