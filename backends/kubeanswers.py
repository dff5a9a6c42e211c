"""What a cluster's answers mean for who asked: errors in our words. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from backends.base import BackendError, BackendRejected, BackendUnavailable, SandboxGone

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 600  # characters of the cluster's own words: two or three of its sentences
_PODSECURITY: Final = "violates podsecurity"
_WEBHOOK: Final = "admission webhook"


class ClusterAway(BackendUnavailable):
    """There is no answer, or none that makes sense."""


class Conflict(BackendUnavailable):
    """Somebody changed the same object meanwhile, or it is there already."""


class Expired(BackendUnavailable):
    """What was asked for by its resource version is forgotten."""


class Busy(BackendUnavailable):
    """The request was not done, and may be repeated after ``seconds``."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class Failed(BackendUnavailable):
    """The cluster itself failed. Whether the request was done is not known."""


class Forbidden(BackendRejected):
    """The server's own rights are missing."""


def from_answer(status: int, body: bytes, headers: Mapping[str, str]) -> BackendError:
    """An answer of the cluster that says no. ``headers``: names in lower case."""
    about = _status(body)
    text = words(str(about.get("message") or body[:200].decode("utf-8", "replace")))
    match status:
        case 404:
            return SandboxGone(text)
        case 409:
            return Conflict(f"the cluster says that something is in the way: {text}")
        case 410:
            return Expired(text)
        case 429 | 503:
            return Busy(f"the cluster is overloaded: {text}", _seconds(headers.get("retry-after", "")))
        case 401:
            return Forbidden(f"the cluster does not know this server ({text}); see its service account or KUBECONFIG")
        case 403:
            return _refused(text, about)
        case 400 | 405 | 406 | 415 | 422:
            return BackendRejected(f"the cluster refuses: {text}")
    return Failed(f"the cluster failed ({status}): {text}")


def _refused(text: str, about: Mapping[str, Any]) -> BackendError:
    causes = (about.get("details") or {}).get("causes") or []
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return Conflict("the workspace's namespace is still being removed; try again when it is gone")
    return explained(text) or Forbidden(
        f"the cluster does not allow it: {text}; give this server's service account the rights that the chart gives"
    )


def explained(text: str) -> BackendRejected | None:
    """A refusal that is not about this server's rights, but about what is to be made; also where a controller tells it.

    ``None`` if it is none of them.
    """
    lower = text.lower()
    if "exceeded quota" in lower or "failed quota" in lower:
        return BackendRejected(
            f"the workspace's namespace has a quota, and it is used up; pause other sandboxes or ask the operator "
            f"for more ({text})"
        )
    if _PODSECURITY in lower:
        return BackendRejected(f"the cluster's pod security does not let sandboxes run; tell the operator ({text})")
    if "runtimeclass" in lower and "not found" in lower:
        return BackendRejected(f"the cluster has not the runtime class that AGENT_RUNTIME names ({text})")
    if _WEBHOOK in lower:
        return BackendRejected(f"a rule of the cluster refuses it; tell the operator ({text})")
    if "limitrange" in lower or "maximum cpu usage" in lower or "maximum memory usage" in lower:
        return BackendRejected(f"the cluster allows no sandbox of this size; tell the operator ({text})")
    return None


def words(text: str) -> str:
    """The cluster's words in one line, not too many."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 1.0
