"""Logs: one form for everybody's, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import time
import warnings
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from daemon import logs
from daemon.logs import HIDDEN, Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMS = pytest.mark.parametrize("form", ["console", "json"])
# In every entry of the table below, however it is wrapped.
SECRET = "hunter2-s3cret_value"


class _Terminal(io.StringIO):
    """What an operator sees."""

    def isatty(self) -> bool:
        return False


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Terminal]:
    """Where the log goes; afterwards logging is as it was before."""
    monkeypatch.setattr(logs, "redactor", Redactor())
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    levels = {name: logging.getLogger(name).level for name in logs._TALKATIVE}
    yield _Terminal()
    logging.captureWarnings(False)
    root.handlers[:], root.level = before[0], before[1]
    structlog.configure(**before[2])
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


ENTRIES: list[tuple[str, dict[str, object]]] = [
    ("by key", {"password": SECRET}),
    (
        "by key in other words",
        {"proxy_token": SECRET, "tunnelToken": SECRET, "X-Api-Key": SECRET, "set-cookie": SECRET},
    ),
    ("by key of the database", {"database_url": f"host=x password={SECRET}", "conninfo": SECRET}),
    ("as bytes", {"ticket": SECRET.encode()}),
    ("in a mapping", {"headers": {"Authorization": f"Bearer {SECRET}", "Host": "a"}}),
    ("deep", {"a": {"b": [{"c": {"cookie": SECRET}}]}}),
    ("in pairs of headers", {"headers": [(b"cookie", SECRET.encode()), (b"host", b"a")]}),
    ("in a ticket's address", {"url": f"http://oc-a.localhost/__cli-server/ticket?ticket={SECRET}&next=/"}),
    ("in a ticket's address, whatever the parameter", {"target": f"/__cli-server/ticket?x={SECRET}"}),
    ("in a tunnel's address", {"target": f"/api/tunnel/a123456789abcdef?token={SECRET}".encode()}),
    ("in a tunnel's address, whatever the parameter", {"path": f"/api/tunnel/a123456789abcdef?t={SECRET}"}),
    ("in opencode's parameter", {"target": f"/event?auth_token={SECRET}#x"}),
    ("in a sign-in's answer", {"target": f"/api/auth/oidc/github/callback?code={SECRET}&state=x"}),
    ("in a URL", {"reason": f"cannot reach postgresql://user:{SECRET}@db:5432/x?a=b"}),
    ("in words of libpq", {"reason": f"invalid dsn: host=a password='{SECRET}"}),
    ("in a header in text", {"reason": f"sent Authorization: Bearer {SECRET}, got 401"}),
    ("by its form", {"reason": f"key sk-ant-{SECRET} was refused"}),
    ("proxy tokens by their form", {"reason": f"clis-{SECRET}"}),
    ("API tokens by their form", {"reason": f"clis_{SECRET}"}),
    ("invitations by their form", {"reason": f"https://code.example.com/invite#clisi_{SECRET}"}),
    ("in an object", {"error": ValueError(f"token={SECRET}")}),
    (f"in the event token={SECRET}", {}),
]


@FORMS
@pytest.mark.parametrize(("event", "fields"), ENTRIES, ids=[event[:30] for event, _ in ENTRIES])
def test_no_secret_is_logged(output: _Terminal, form: str, event: str, fields: dict[str, object]) -> None:
    """Lesson: secrets in clear in URLs and logs."""
    logs.configure(form, "info", stream=output)  # type: ignore[arg-type]
    structlog.get_logger("daemon.x").warning(event, kept="kept value", **fields)
    logging.getLogger("hypercorn.error").warning("%s %s", event, {**fields})
    assert SECRET not in output.getvalue()
    assert output.getvalue().count("\n") == 2
    assert "kept value" in output.getvalue()


@FORMS
def test_secret_values_that_are_known_never_show_in_tracebacks_either(output: _Terminal, form: str) -> None:
    known = 'operator "key" ünd\\more'
    logs.configure(form, "info", secrets=[known, known + " longer", "x"], stream=output)  # type: ignore[arg-type]
    try:
        raise ValueError(f"upstream said: {known} longer is wrong; see http://u:{SECRET}@h/")
    except ValueError:
        structlog.get_logger("daemon.x").exception("failed", field=[known])
        logging.getLogger("library").exception("failed with %s", known)
    text = output.getvalue()
    assert SECRET not in text
    assert known not in text
    assert json.dumps(known)[1:-1] not in text
    assert "longer" not in text.replace(" longer is wrong; see", "")
    assert "ValueError: upstream said: " + HIDDEN in text
    assert "test_logs.py" in text
    assert text.count("x") > 0, "what is too short for a secret is left alone"


@FORMS
def test_nobody_can_forge_lines_or_paint_the_terminal(output: _Terminal, form: str) -> None:
    logs.configure(form, "info", stream=output)  # type: ignore[arg-type]
    nasty = "a\nlevel=critical\r\x1b[2J\x00\u2028\u202eb\x9b"
    structlog.get_logger("daemon.x").info("name: " + nasty, path=nasty, inner={nasty: [nasty.encode()]})
    logging.getLogger("library").warning(nasty)
    assert len(output.getvalue().splitlines()) == 2
    assert all(character.isprintable() or character == "\n" for character in output.getvalue())


def test_json_is_one_object_a_line(output: _Terminal) -> None:
    logs.configure("json", "info", stream=output)
    structlog.get_logger("daemon.x").info("sandbox created", sandbox="a1", seconds=1.5, ok=True, none=None, path=logs)
    logging.getLogger("library").warning("old %s", "style")
    ours, theirs = map(json.loads, output.getvalue().splitlines())
    assert {key: ours[key] for key in ("event", "level", "logger", "sandbox", "seconds", "ok", "none")} == {
        "event": "sandbox created", "level": "info", "logger": "daemon.x",
        "sandbox": "a1", "seconds": 1.5, "ok": True, "none": None,
    }  # fmt: skip
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("old style", "warning", "library")
    assert ours["timestamp"].endswith("Z")


def test_levels(output: _Terminal) -> None:
    logs.configure("json", "warning", stream=output)
    for logger in (structlog.get_logger("daemon.x"), logging.getLogger("library")):
        logger.debug("no")
        logger.info("no")
        logger.warning("yes")
    logs.configure("json", "debug", stream=output)
    logging.getLogger("httpx").info("HTTP Request: GET http://a/?x=y")
    logging.getLogger("hypercorn.access").info("no")
    structlog.get_logger("daemon.x").debug("yes")
    assert [json.loads(line)["event"] for line in output.getvalue().splitlines()] == ["yes", "yes", "yes"]


def test_warnings_of_python_are_logged(output: _Terminal) -> None:
    logs.configure("json", "info", stream=output)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings put its own way of showing back; the one that logging installed is what counts.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old thing" in output.getvalue()


def test_what_is_too_deep_to_look_into_is_not_shown() -> None:
    entry = Redactor()(None, "", {"a": {"b": {"c": {"d": {"e": SECRET}}}}})
    assert SECRET not in json.dumps(entry)


@pytest.mark.parametrize(
    "piece", ["a-", "token", "token ", "a://", "/api/tunnel/", "Bearer ", "cookie: ", "?code=", '"']
)
def test_no_text_costs_more_than_its_length(piece: str) -> None:
    """What a stranger sends may stand in a log entry; 200 kB of it took seconds with unbounded patterns."""
    text = Redactor()(None, "", {"target": piece * (200_000 // len(piece))})["target"]
    assert len(text) < 10_000
    begin = time.process_time()
    Redactor().text(piece * (200_000 // len(piece)))
    assert time.process_time() - begin < 2  # takes 0.05 s; quadratic ones took 100 s


def test_plain_words_are_left_alone() -> None:
    redactor = Redactor()
    for text in (
        "state=failed code=not_ready", "input_tokens 12", "http://localhost:8080/api/sandboxes?limit=2",
        "user@example.com", "/session?directory=/data/disk0", "the key of this installation", "a basic rule",
        "the token has expired", "12 tokens: a lot", "password is wrong", "cookies of the parent domain",
    ):  # fmt: skip
        assert redactor.text(text) == text
    entry = {"output_tokens": 5, "codes": "x", "monkey": "y", "passed": "z"}
    assert redactor(None, "", dict(entry)) == entry


@given(st.dictionaries(st.text(max_size=10), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
), max_size=4))  # fmt: skip
def test_any_entry_can_be_redacted(entry: dict[str, object]) -> None:
    redacted = Redactor()(None, "", dict(entry))
    assert list(redacted) == list(entry)
    json.dumps(redacted)
