"""The search for secrets in logs finds them: in every form, of a real daemon and agent, and after every test."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemon.secret import Keyring, new_token
from tests.support import leaks
from tests.support.leaks import Secrets, Watched
from tests.support.product import ROOT, Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "correct horse/battery+staple"
# Says what it was given, and is the daemon then.
TALKATIVE = (
    "import os, runpy, sys; print(os.environ['SAID'], flush=True); runpy.run_module('daemon', run_name='__main__')"
)
# What a test file would do without knowing it.
LEAKY = """
from tests.support.leaks import Secrets, Watched, watch
def test_passes():
    secrets = Secrets()
    secrets.add({said!r})
    watch(Watched("a daemon", secrets, lambda: "it says " + {said!r}, lambda: True))
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted here is found here, and not after the test."""
    monkeypatch.setattr(leaks, "_watched", [])


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        "correct%20horse%2Fbattery%2Bstaple",
        "correct+horse%2Fbattery%2Bstaple",
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"opencode:{SECRET}".encode()).decode(),
        base64.b64encode(f"x:{SECRET}:y".encode()).decode(),
        base64.urlsafe_b64encode(f"ab{SECRET}".encode()).decode(),
    ],
)
def test_every_form_is_found(said: str) -> None:
    secrets = Secrets()
    secrets.add(SECRET)
    assert secrets.found_in(f"2026 info said={said} more") == [SECRET]
    assert secrets.found_in(f"2026 info said={said[:-10]} more") == []


def test_what_has_the_form_of_a_token_is_found_though_nobody_told() -> None:
    for token in (new_token() for _ in range(20)):
        assert Secrets().found_in(f"GET /x?a={token}") == ([token] if leaks._mixed(token) else [])
    assert Secrets().found_in(f"/tmp/{'x' * 20}_{'y' * 22} {'ab' * 32} sha256:{'0f' * 32}") == []


def test_what_passes_is_remembered() -> None:
    secrets = Secrets()
    secrets.sent(
        {"Authorization": "Bearer sent-in-a-header"}, b'{"username": "ada-lovelace", "password": "typed by ada"}'
    )
    answer = b'{"code": "AAAA-BBBB-CCCC", "url": "http://localhost/invite#after-the-hash", "name": "no secret at all"}'
    headers = [("set-cookie", "cli_server_session=in-a-cookie; Path=/"), ("content-type", "application/json")]
    secrets.answered([*headers, ("location", "/x?ticket=in-a-location&next=/not-secret")], answer)
    secrets.answered([("content-type", "application/problem+json")], b'{"code": "a_code_of_a_problem"}')
    secrets.settings({"ANTHROPIC_API_KEY": "of-the-environment", "LISTEN": "127.0.0.1:8080"})
    secrets.sandboxes.add("abcdefghij012345")
    assert secrets.values == {
        "Bearer sent-in-a-header", "sent-in-a-header", "typed by ada", "AAAA-BBBB-CCCC", "after-the-hash",
        "in-a-cookie", "in-a-location", "of-the-environment",
    }  # fmt: skip


def test_what_is_derived_is_looked_for(tmp_path: Path) -> None:
    key = tmp_path / "secret.key"
    key.write_bytes(bytes(32))
    secrets = Secrets(sandboxes={"abcdefghij012345"})
    said = f"password={Keyring(bytes(32)).opencode_password('abcdefghij012345', 1)}"
    leaks.watch(Watched("a daemon", secrets, lambda: said, lambda: True, key))
    with pytest.raises(AssertionError, match="a daemon said a secret"):
        leaks.check()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Product]:
    product = Product(tmp_path, program=("-c", TALKATIVE))
    yield product
    product.close()


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("said", [SECRET, "nothing"])
def test_a_daemon_that_says_a_password_is_found_out(made: Product, said: str) -> None:
    made.env["SAID"] = said
    made.start()
    made.visitor().register("ada", SECRET)
    leaks.check()  # it still runs, and may say more
    made.stop()
    if said == "nothing":
        leaks.check()
        return
    with pytest.raises(AssertionError, match="said a secret, 'correct horse"):
        leaks.check()


@pytest.mark.parametrize(("said", "failures"), [("a secret of many words", 1), ("short", 0)])
def test_the_test_fails_in_which_it_happened(tmp_path: Path, said: str, failures: int) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY.format(said=said))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ("1 passed" in done.stdout, done.returncode) == (True, failures), done.stdout
    assert ("said a secret" in done.stdout) == bool(failures)
