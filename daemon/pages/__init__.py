"""What the gateway answers instead of a sandbox: pages for people, problems (RFC 9457) for programs. Pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.pages.layout import HEADERS, Content, Link, html
from daemon.pages.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Page", "State", "Subject", "problem", "render", "render_problem"]

# A reason is a sentence or the last lines of a program; more helps nobody on a page.
MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer. Header names are in lower case; no content-length."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an answer is about. Everything is plain text and optional.

    ``reason``: why it is so, for a person. ``elapsed``: seconds for which it has been so. ``action_url``: where the
    state's own button leads (resume, try again, sign in); without one there is none. ``logs_url``: the page of its log.
    """

    name: str = ""
    reason: str = ""
    elapsed: float | None = None
    main_url: str = "/"
    action_url: str = ""
    logs_url: str = ""
    port: int | None = None


_NOTHING = Subject()


def render(state: State, subject: Subject = _NOTHING) -> Page:
    """The page of ``state`` for a person."""
    look = state.value
    content = Content(
        title=_fill(look.title, subject),
        word=look.word,
        icon=look.icon,
        text=_fill(look.text, subject),
        quiet=_since(subject.elapsed),
        quote=_clean(subject.reason),
        links=_links(state, subject),
        home=subject.main_url,
    )
    return Page(look.status, [*HEADERS, *_retry_after(state), *_refresh(state)], html(content))


def render_problem(state: State, subject: Subject = _NOTHING) -> Page:
    """The same for a program."""
    look = state.value
    reason = _clean(subject.reason)
    detail = f"{_fill(look.text, subject)} Reason: {reason}" if reason else _fill(look.text, subject)
    return problem(look.status, look.code, _fill(look.title, subject), detail, _retry_after(state))


def problem(status: int, code: str, title: str, detail: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Page:
    """An ``application/problem+json`` with our stable ``code``."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    fixed = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    return Page(status, [*fixed, *headers], json.dumps(body).encode())


def _links(state: State, subject: Subject) -> list[Link]:
    look = state.value
    links = [Link("All sandboxes", subject.main_url)]
    if look.logs and subject.logs_url:
        links.insert(0, Link("Logs", subject.logs_url))
    if look.action and subject.action_url:
        links.insert(0, Link(look.action, subject.action_url, first=True))
    return links


def _retry_after(state: State) -> list[tuple[bytes, bytes]]:
    seconds = state.value.refresh or state.value.retry_after
    return [(b"retry-after", b"%d" % seconds)] if seconds else []


def _refresh(state: State) -> list[tuple[bytes, bytes]]:
    """The page loads itself again: what one waits for comes in its place. A script, which could ask first, is not
    allowed here; nothing can be typed into these pages, so that nothing is lost by it."""
    seconds = state.value.refresh
    return [(b"refresh", b"%d" % seconds)] if seconds else []


def _fill(text: str, subject: Subject) -> str:
    name = _clean(subject.name).replace("\n", " ") or "The sandbox"
    port = "" if subject.port is None else str(subject.port)
    return text.replace("{port}", port).replace("{main}", subject.main_url).replace("{name}", name)


def _clean(text: str) -> str:
    """Printable characters and line breaks; of a long text its end, where programs say what went wrong."""
    text = "".join(character if character.isprintable() or character == "\n" else " " for character in text).strip()
    return text if len(text) <= MAX_REASON else "…" + text[-MAX_REASON:]


def _since(seconds: float | None) -> str:
    if seconds is None or seconds < 0:
        return ""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"For {_count(int(seconds // size), unit)}"
    return f"For {_count(int(seconds), 'second')}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
