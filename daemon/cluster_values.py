"""How values of a Kubernetes cluster are written in settings; see :mod:`daemon.values`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123, a subdomain
# The rest of a namespace's 63 characters is a hyphen and the workspace's 16.
_PREFIX: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,44}[a-z0-9])?")
# Kubernetes, "Labels and Selectors": an optional domain and a slash, then at most 63 characters.
_LABEL_KEY: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_TOLERATION: Final = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})


def object_name(text: str) -> str:
    """The name of an object in a cluster."""
    if not _NAME.fullmatch(text):
        raise ValueError
    return text


def namespace_prefix(text: str) -> str:
    """What namespaces of workspaces begin with."""
    if not _PREFIX.fullmatch(text):
        raise ValueError
    return text


def labels(text: str) -> dict[str, str]:
    """Labels separated by commas: ``app.kubernetes.io/name=cli-server,tier=web``."""
    found: dict[str, str] = {}
    for part in (part.strip() for part in text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"{part} is no label" if part else "a part of it is empty")
        if key in found:
            raise ValueError(f"{key} is there twice")
        found[key] = value
    return found


def tolerations(text: str) -> tuple[dict[str, Any], ...]:
    """A pod's tolerations as JSON. The cluster checks what is in them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("it is JSON, but not a list of objects")
    for each in found:
        if unknown := sorted(each.keys() - _TOLERATION):
            raise ValueError(f"a toleration has no {unknown[0]}")
    return tuple(found)
