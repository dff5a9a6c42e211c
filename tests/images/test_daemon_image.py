"""The server's image: what is in it, and what must not be."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.compose import docker, inspect

IMAGE = "cli-server:latest"
MOST_BYTES = 320 * 10**6  # it has 270 MB: Debian 83, Python 40, packages 140 (of them the Kubernetes client 57)
pytestmark = pytest.mark.needs("docker", "images")


def inside(command: str) -> str:
    """What a shell in the image says."""
    return docker("run", "--rm", "--network", "none", "--entrypoint", "sh", IMAGE, "-c", command)


@pytest.fixture(scope="module")
def files() -> set[str]:
    """The path of every file."""
    return set(
        docker("run", "--rm", "--user", "0", "--entrypoint", "find", IMAGE, "/", "-xdev", "-type", "f").split("\n")
    )


def test_it_is_nobody_in_particular() -> None:
    assert inside("id -u; id -g; stat -c %u:%a $DATA_DIR") == "10001\n10001\n10001:700\n"


def test_it_is_small() -> None:
    assert inspect(IMAGE, "image")["Size"] < MOST_BYTES


def test_nothing_of_building_is_left(files: set[str]) -> None:
    names = {path.rpartition("/")[2] for path in files}
    assert not names & {"gcc", "cc", "make", "node", "npm", "pip", "pip3", "git", "curl", "postgres", "initdb"}
    assert not [
        path
        for path in files
        if path.startswith(("/build/", "/root/.cache/", "/root/.npm/")) or "/node_modules/" in path
    ]
    assert not [path for path in files if "/site-packages/pip/" in path or "pixeltable" in path]


def test_no_secret_came_with_the_sources(files: set[str]) -> None:
    assert not [
        path for path in files if path.endswith(("/.env", "/agent.json")) or "/secrets/" in path or "/.git/" in path
    ]
    env = {line.partition("=")[0] for line in inspect(IMAGE, "image")["Config"]["Env"]}
    assert env == {"PATH", "LANG", "PYTHONUNBUFFERED", "LISTEN", "BACKEND", "DATA_DIR"}


def test_nobody_becomes_root_in_it() -> None:
    """With no-new-privileges they could not, but not everybody sets that."""
    writable = inside("find / -xdev -writable -type f -not -path '/proc/*' 2>/dev/null || true").split()
    assert not writable, "all but its volume is for reading"


def test_the_web_ui_and_the_downloads_are_in_it(files: set[str]) -> None:
    assert any(path.endswith("/daemon/webroot/index.html") for path in files)
    assert any(path.endswith("/daemon/downloads/cli-server-agent.pyz") for path in files)


def test_it_is_the_command() -> None:
    assert docker("run", "--rm", IMAGE, "version").startswith("cli-server ")


def test_without_a_database_it_says_what_to_do() -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", IMAGE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    last = done.stderr.rstrip().split("\n")[-1]
    assert last.startswith("cli-server: ")
    assert "set DATABASE_URL" in last
    assert "Traceback" not in done.stderr


def test_the_health_check_fails_where_nobody_answers() -> None:
    program = inspect(IMAGE, "image")["Config"]["Healthcheck"]["Test"][1:]
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", program[0], IMAGE, *program[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no answer" in done.stderr
