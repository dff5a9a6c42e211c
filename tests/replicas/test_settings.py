"""What several replicas need is there, or the start says in one line what is not."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from daemon.config import ConfigError, load
from daemon.secret import read_keyring
from daemon.start import StartError, open_keyring

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "BACKEND": "docker",
    "DATABASE_URL": "postgresql://h/d",
    "SECRET_KEY_FILE": "/run/secrets/key",
    "REPLICA_LISTEN": "10.1.2.3:8081",
    "ANTHROPIC_PROXY_URL": "http://cli-server:8080/proxy/anthropic",
}


def test_where_others_reach_it() -> None:
    assert load({}).replica_url is None
    assert load(GOOD).replica_url == "http://10.1.2.3:8081"
    assert load(GOOD | {"REPLICA_LISTEN": "[fd00::1]:81"}).replica_url == "http://[fd00::1]:81"
    given = {"REPLICA_LISTEN": ":8081", "REPLICA_URL": "http://pod.example:8081/"}
    assert load(GOOD | given).replica_url == "http://pod.example:8081"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"BACKEND": "process"}, "REPLICA_LISTEN is set with BACKEND process"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is unset while REPLICA_LISTEN is set"),
        ({"SECRET_KEY_FILE": ""}, "SECRET_KEY_FILE is unset while REPLICA_LISTEN is set"),
        ({"ANTHROPIC_PROXY_URL": ""}, "ANTHROPIC_PROXY_URL is unset while REPLICA_LISTEN is set"),
        ({"REPLICA_LISTEN": ":8081"}, "REPLICA_URL is unset while REPLICA_LISTEN is no single address"),
        ({"REPLICA_LISTEN": "127.0.0.1:0"}, "REPLICA_URL is unset while REPLICA_LISTEN is no single address"),
        ({"REPLICA_LISTEN": "", "REPLICA_URL": "http://h:1"}, "REPLICA_URL is set while REPLICA_LISTEN is unset"),
        ({"REPLICA_URL": "https://h:1"}, 'REPLICA_URL "https://h:1" cannot be used'),
        ({"REPLICA_URL": "http://h"}, 'REPLICA_URL "http://h" cannot be used'),
        ({"REPLICA_URL": "http://h:1/x"}, 'REPLICA_URL "http://h:1/x" cannot be used'),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value.values()) or " ".join(value),
)
def test_half_of_it(changed: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(GOOD | changed)
    assert str(caught.value).startswith(words)
    assert "; accepted is " in str(caught.value) or str(caught.value).endswith("so it must be set")
    assert "\n" not in str(caught.value)


def test_the_key_of_all(tmp_path: Path) -> None:
    key, path = bytes(range(32)), tmp_path / "key"
    for content in (key, base64.b64encode(key), base64.b64encode(key) + b"\n"):
        path.write_bytes(content)
        assert read_keyring(path).key == key
    settings = load(GOOD | {"SECRET_KEY_FILE": str(path)})
    assert open_keyring(settings, tmp_path).key == key
    for content in (b"", b"x" * 31, b"x" * 33, base64.b64encode(key[:-1]), b"\xff" * 44):
        path.write_bytes(content)
        with pytest.raises(StartError, match="does not hold a key of 32 bytes"):
            open_keyring(settings, tmp_path)
    path.unlink()
    with pytest.raises(StartError, match="cannot be read"):
        open_keyring(settings, tmp_path)
    assert list(tmp_path.iterdir()) == [], "it is never made: each replica would have its own"
