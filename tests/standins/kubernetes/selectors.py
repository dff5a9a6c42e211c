"""Label selectors and field selectors, as lists and watches have them in their queries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes.answers import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

# Beside name and namespace, which every kind has.
_FIELDS: Final = {
    "pods": {
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork"),
        *("status.phase", "status.podIP", "status.nominatedNodeName"),
    },
    "events": {
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
        *("involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"),
    },
    "namespaces": {"status.phase"},
    "secrets": {"type"},
    "services": {"spec.clusterIP", "spec.type"},
}
_SET: Final = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")


def _requirements(text: str) -> list[str]:
    """Split at commas outside of parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def matches_labels(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels satisfy a selector in its written form."""
    return all(_label(part, labels) for part in _requirements(selector))


def _label(part: str, labels: dict[str, str]) -> bool:
    if found := _SET.fullmatch(part):
        key, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return labels.get(key) in values if word == "in" else labels.get(key) not in values
    for sign, wanted in (("!=", False), ("==", True), ("=", True)):
        if sign in part:
            key, _, value = part.partition(sign)
            return (labels.get(key.strip()) == value.strip()) is wanted
    if " " in part:
        raise bad_request(f"unable to parse requirement: {part}")
    return part[1:].strip() not in labels if part.startswith("!") else part in labels


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a ``LabelSelector`` object selects these labels. An empty one selects all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", ()):
        key, values = one["key"], one.get("values", ())
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds[one["operator"]]:
            return False
    return True


def build(plural: str, labels: str, fields: str) -> Callable[[dict[str, Any]], bool]:
    """The test that a query's two selectors make. Raises a refusal for a field that the kind does not offer."""
    matches_labels(labels, {})
    wanted = []
    for part in _requirements(fields):
        found = re.fullmatch(r"([^=!]+)(!=|==|=)(.*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        name, sign, value = found.groups()
        if name not in {"metadata.name", "metadata.namespace", *_FIELDS.get(plural, ())}:
            raise bad_request(f"field label not supported: {name}")
        wanted.append((name.split("."), sign != "!=", value))

    def holds(obj: dict[str, Any]) -> bool:
        fits = all((_value(obj, path) == value) is same for path, same, value in wanted)
        return fits and matches_labels(labels, obj["metadata"].get("labels") or {})

    return holds


def _value(obj: dict[str, Any], path: list[str]) -> str:
    found: Any = obj
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return {None: "", True: "true", False: "false"}.get(found, str(found)) if not isinstance(found, str) else found
