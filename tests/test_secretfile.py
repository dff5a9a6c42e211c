"""Secrets that stand in files: what is taken, and the one line that anything else gets."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from daemon import cli
from daemon.config import SETTINGS, ConfigError, Setting, load
from daemon.secretfile import MOST_BYTES

if TYPE_CHECKING:
    from pathlib import Path

SECRET = [setting for setting in SETTINGS if setting.secret]
_BESIDE = {"GITHUB_CLIENT_ID": "i", "OIDC_CLIENT_ID": "i", "OIDC_ISSUER_URL": "https://id.example"}
_SPECIAL = {"DATABASE_URL": "postgresql://u:s3cret@h/d", "OPENCODE_CONFIG_CONTENT": '{"key": "s3cret"}'}


def _neighbours(setting: Setting) -> dict[str, str]:
    """What belongs to the setting's sign-in, if it is of one."""
    prefix = setting.variable.partition("_")[0]
    return {name: value for name, value in _BESIDE.items() if name.startswith(prefix + "_")}


@pytest.mark.parametrize("setting", SECRET, ids=lambda setting: setting.variable)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_every_secret_can_stand_in_a_file(tmp_path: Path, setting: Setting, end: str) -> None:
    value = _SPECIAL.get(setting.variable, "s3cret")
    file = tmp_path / "secret"
    file.write_bytes((value + end).encode())
    given = {**_neighbours(setting), setting.file_variable: str(file)}
    assert getattr(load(given), setting.field) == value
    assert getattr(load(_neighbours(setting), {setting.file_variable: str(file)}), setting.field) == value
    assert value in load(given).secrets, "logs leave it out"


def _line(given: dict[str, str], flags: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(given, flags)
    line = str(caught.value)
    assert line.isprintable()
    return line


def test_both_ways_at_once_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-the-file")
    both = {"ANTHROPIC_API_KEY": "plain-one", "ANTHROPIC_API_KEY_FILE": str(file)}
    expected = "ANTHROPIC_API_KEY_FILE and ANTHROPIC_API_KEY are both set; accepted is one of them"
    assert _line(both) == expected
    assert _line({}, both) == expected
    assert load({**both, "ANTHROPIC_API_KEY": " "}).anthropic_api_key == "from-the-file"
    assert load({**both, "ANTHROPIC_API_KEY_FILE": ""}).anthropic_api_key == "plain-one"


def test_a_flag_of_either_kind_overrides_both_variables(tmp_path: Path) -> None:
    file, other = tmp_path / "key", tmp_path / "other"
    file.write_text("from-the-file")
    other.write_text("from-the-flag")
    by_file, plain = {"ANTHROPIC_API_KEY_FILE": str(file)}, {"ANTHROPIC_API_KEY": "plain-one"}
    flag = {"ANTHROPIC_API_KEY_FILE": str(other)}
    assert load(by_file, flag).anthropic_api_key == load(plain, flag).anthropic_api_key == "from-the-flag"
    assert load(by_file, plain).anthropic_api_key == "plain-one"
    assert load(by_file, {"ANTHROPIC_API_KEY": ""}).anthropic_api_key is None, "an empty flag unsets"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"k" * (MOST_BYTES + 1), "it is too large"),
        (b"\xff\xfe", "it is not UTF-8 text"),
    ],
    ids=["empty", "blank", "large", "binary"],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    accepted = "accepted is the path of a readable file of 1 to 65536 bytes"
    line = _line({"ANTHROPIC_API_KEY_FILE": str(file)})
    assert line == f"ANTHROPIC_API_KEY_FILE {json.dumps(str(file))} cannot be used: {reason}; {accepted}"


@pytest.mark.parametrize(
    ("name", "reason"), [("nothing", "No such file or directory"), (".", "Is a directory"), ("a\nb", "No such file")]
)
def test_a_file_that_is_none(tmp_path: Path, name: str, reason: str) -> None:
    line = _line({"DATABASE_URL_FILE": f"{tmp_path}/{name}"})
    assert line.startswith(f'DATABASE_URL_FILE "{tmp_path}/{name[0]}')
    assert reason in line


def test_what_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes into the pipe: opened as a file is, it would hold up the start for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        assert "it is no regular file" in _line({"ANTHROPIC_API_KEY_FILE": str(path)})


def test_a_mode_that_lets_others_read_is_no_reason_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k")
    file.chmod(0o644)  # compose's own
    assert load({"ANTHROPIC_API_KEY_FILE": str(file)}).anthropic_api_key == "k"


def test_a_bad_value_in_a_file_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hunter2 hunter2")
    line = _line({"ANTHROPIC_API_KEY_FILE": str(file)})
    assert line.startswith("ANTHROPIC_API_KEY_FILE (its value is not shown) cannot be used")
    assert "hunter2" not in line


def test_what_is_no_secret_has_no_file(tmp_path: Path) -> None:
    file = tmp_path / "domain"
    file.write_text("a.example")
    assert load({"BASE_DOMAIN_FILE": str(file)}).base_domain == "localhost"


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor"])
def test_the_flags_of_files(command: str) -> None:
    output = CliRunner().invoke(cli.main, [command, "--help"]).output
    for setting in SECRET:
        assert f"\n  {setting.file_flag} PATH" in output
    result = CliRunner().invoke(cli.main, [command, "--anthropic-api-key-file", "/nowhere"])
    assert result.exit_code == 2
    assert result.stderr.startswith('cli-server: ANTHROPIC_API_KEY_FILE "/nowhere" cannot be used: No such file')
