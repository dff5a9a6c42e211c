"""Structured logs: ours and everybody else's by one way, with every secret taken out on it."""

from __future__ import annotations

import logging
import re
import sys
from typing import IO, TYPE_CHECKING

import structlog
from structlog.stdlib import ProcessorFormatter

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from typing import Any, Literal

    from structlog.typing import Processor

HIDDEN = "[hidden]"

# A key of an entry (or of a mapping in one) that says by its name that the value is secret. Matched as a part of the
# name: "proxy_token", "X-Api-Key", "set-cookie".
_SECRET_KEY = re.compile(
    r"pass(?:wd|phrase)?$|password|secret|token(?!s)|ticket|authorization|cookie|api.?key|credential|conninfo|agent.?code"
    r"|database.?url|opencode.?config|keyring",
    re.IGNORECASE,
)
# The same in running text: "password='…'", "?ticket=…", "'x-api-key': b'…'", as libraries put it into words. All
# repetitions are bounded: what others send us may stand in the text, and must not cost more than its length …
_SECRET_PAIR = re.compile(
    r"((?:password|passwd|secret|token|ticket|api[-_]?key|conninfo|database_url)[\"']?(?:\s*[:=]|(?<=[\"']),)\s*b?[\"']?)"
    r"[^\s&;#,\"']+",
    re.IGNORECASE,
)
# … headers to their end …
_SECRET_HEADER = re.compile(r"((?:authorization|cookie)[\"']?(?:\s*[:=]|(?<=[\"']),)\s*b?[\"']?)[^\"']+", re.IGNORECASE)
# … what a sign-in brings back, by words that mean other things too, only where a query is plain to see …
_SECRET_PARAMETER = re.compile(r"([?&](?:code|state|key)=)[^&\s\"'#]+", re.IGNORECASE)
# … whole queries of the paths that carry them …
_SECRET_QUERY = re.compile(
    r"(/__cli-server/ticket|/api/tunnel/[^?\s\"']{0,64}|/api/auth/oidc/[^?\s\"']{0,64})\?[^\s\"'#]*"
)
# … user and password in a URL …
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/\s@\"']{0,512}@", re.IGNORECASE)
# … credentials in a header …
_SCHEME = re.compile(r"\b(Basic|Bearer)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
# … and secrets that show by their form: Anthropic's keys, our proxy tokens, API tokens and invitations.
_FORM = re.compile(r"\b(?:sk-ant-|clis[-_]|clisi_)[A-Za-z0-9_-]{6,}")
# What a terminal or a reader of lines would obey.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Tracebacks are many lines.
_MANY_LINES = frozenset({"exception", "stack"})

# A value shorter than this is no secret, and replacing it would spoil other words.
_SHORTEST = 6
# How deep values are looked into; what is deeper is not shown.
_DEEPEST = 4
# Characters of one value, and of a traceback; what is longer loses its middle.
_LONGEST, _LONGEST_LINES = 4096, 32768
# Libraries that tell of every request at "info", addresses and queries with it.
_TALKATIVE = ("httpx", "httpcore", "hypercorn", "hypercorn.access", "quart.serving", "urllib3", "docker", "kubernetes")


class Redactor:
    """Takes secrets out of log entries: by the name of the key, by their form, and those it was told of."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[str]) -> None:
        """Never show these values."""
        self._known.update(secret for secret in secrets if len(secret) >= _SHORTEST)
        # Longest first, so that a secret that begins like another one goes whole.
        known = sorted(map(re.escape, self._known), key=len, reverse=True)
        self._pattern = re.compile("|".join(known)) if known else None

    def __call__(self, logger: object, name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The processor."""
        for key, value in entry.items():
            entry[key] = self._lines(str(value)) if key in _MANY_LINES else self._value(key, value, 0)
        return entry

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        text = _SECRET_QUERY.sub(rf"\1?{HIDDEN}", text)
        for pattern in (_SECRET_HEADER, _SECRET_PAIR, _SECRET_PARAMETER):
            text = pattern.sub(rf"\1{HIDDEN}", text)
        text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
        return _FORM.sub(HIDDEN, text)

    def _value(self, key: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if _SECRET_KEY.search(key):
            return HIDDEN
        if depth == _DEEPEST:
            return "…"
        return self._inside(key, value, depth + 1)

    def _inside(self, key: str, value: object, depth: int) -> object:
        if isinstance(value, dict):
            return {self._line(str(name)): self._value(str(name), inner, depth) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(_header_name(inner) or key, inner, depth) for inner in value]
        if isinstance(value, bytes | bytearray):
            return self._line(value.decode("utf-8", "backslashreplace"))
        return self._line(str(value))

    def _line(self, text: str) -> str:
        """One line that a terminal cannot obey."""
        return _CONTROL.sub(_escaped, self._bounded(text, _LONGEST))

    def _lines(self, text: str) -> str:
        lines = self._bounded(text, _LONGEST_LINES).split("\n")
        return "\n".join(_CONTROL.sub(_escaped, line.expandtabs()) for line in lines)

    def _bounded(self, text: str, most: int) -> str:
        # Shortened twice: a secret that the first cut goes through is in what the second one takes away.
        return _shortened(self.text(_shortened(text, 4 * most)), most)


def _escaped(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def _header_name(value: object) -> str:
    """The name of a header that stands as a pair of name and value, as HTTP libraries keep them."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return ""
    name = value[0]
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


# One for the process, as logging itself is.
redactor = Redactor()


def configure(
    form: Literal["console", "json"],
    level: Literal["debug", "info", "warning", "error"],
    *,
    secrets: Iterable[str] = (),
    stream: IO[str] | None = None,
) -> None:
    """Send every log of this process to ``stream`` (stderr) in ``form``. ``secrets`` are values never to be shown.

    May be called again; the last call counts, but secrets stay.
    """
    redactor.add(secrets)
    stream = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # loggers of modules are made before this call
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(form, colours=stream.isatty()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _in_order(logger: object, name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What every entry has stands first, so that people can read JSON, too."""
    first = {key: entry.pop(key) for key in ("timestamp", "level", "logger", "event") if key in entry}
    return {**first, **entry}


def _formatter(form: Literal["console", "json"], *, colours: bool) -> ProcessorFormatter:
    renderer: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    )
    return ProcessorFormatter(
        foreign_pre_chain=_shared(),
        # The traceback becomes text first, so that secrets in it are found, too; nothing is added after the redactor.
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.StackInfoRenderer(),
            redactor,
            _in_order,
            renderer,
        ],
    )
