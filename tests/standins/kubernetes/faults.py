"""What goes wrong, switched by a test at any moment. Each switch is off at first; ``clear`` turns all off."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.standins.kubernetes.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

_REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


@dataclass(frozen=True)
class Asked:
    """One request, as RBAC sees it: ``list pods``, ``create sandboxes``, ``get pods/exec``."""

    verb: str
    resource: str
    namespace: str
    name: str


@dataclass
class Faults:
    """The switches. They may be turned from any thread.

    ``away`` is the cluster's (``Cluster.away()``), because it closes the listener. ``failing`` has (every, code,
    seconds of Retry-After or ``None``, which requests): each so-and-so-many-th of those requests is not done at all.
    ``losing``: such requests are done, and their answer is a 504 or a cut connection (code 0).
    """

    delay: float = 0  # seconds before every answer but those of watches
    watch_cut: float | None = None  # seconds until the connection of a watch is cut, without an end of the body
    watch_gone: str | None = None  # "event": watches begin with an ERROR event of 410; "status": they are answered 410
    denied: dict[str, str] = field(default_factory=dict)  # message of an admission webhook, by plural of the kind
    forbidden: set[tuple[str, str]] = field(default_factory=set)  # (verb, resource), "*" for any
    failing: tuple[int, int, int | None, Callable[[Asked], bool]] | None = None
    losing: tuple[int, int, Callable[[Asked], bool]] | None = None
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self,
        code: int,
        *,
        every: int = 1,
        retry_after: int | None = None,
        when: Callable[[Asked], bool] = lambda _: True,
    ) -> None:
        """Answer every n-th request so, from now on, without doing it."""
        with self._lock:
            self._count = 0
            self.failing = (every, code, retry_after, when)

    def lose(self, *, every: int = 1, code: int = 504, when: Callable[[Asked], bool] = lambda _: True) -> None:
        """Do every n-th request and lose the answer: the client gets ``code``, or with 0 no answer at all."""
        with self._lock:
            self._count = 0
            self.losing = (every, code, when)

    def clear(self) -> None:
        """Everything is well again."""
        fresh = Faults()
        with self._lock:
            for name in ("delay", "watch_cut", "watch_gone", "denied", "forbidden", "failing", "losing"):
                setattr(self, name, getattr(fresh, name))

    def forbids(self, asked: Asked) -> bool:
        """Whether a request is refused as if the rights were missing."""
        pairs = ((verb, resource) for verb in (asked.verb, "*") for resource in (asked.resource, "*"))
        return any(pair in self.forbidden for pair in pairs)

    def strike(self, asked: Asked) -> None:
        """Raise what a request is to fail with, if it is its turn."""
        if self.failing is not None and self.failing[3](asked) and self._turn(self.failing[0]):
            raise failure(self.failing[1], self.failing[2])

    def swallow(self, asked: Asked) -> int | None:
        """The code that the answer is lost with, if it is its turn."""
        if self.losing is not None and self.losing[2](asked) and self._turn(self.losing[0]):
            return self.losing[1]
        return None

    def _turn(self, every: int) -> bool:
        with self._lock:
            self._count += 1
            return self._count % every == 0


def failure(code: int, retry_after: int | None = None) -> Refused:
    """A failure of the server itself."""
    text = {
        409: "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest",
        429: "the server has received too many requests and has asked us to try again later",
        500: "Internal error occurred: etcdserver: request timed out",
        503: "the server is currently unable to handle the request",
    }.get(code, "the server could not finish the request")
    return Refused(code, _REASONS.get(code, "Unknown"), text, retry_after=retry_after)
