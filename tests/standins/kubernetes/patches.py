"""The three kinds of patches. The strategic one merges lists by the keys of the schema, and knows ``$patch``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.standins.kubernetes.answers import bad_request

if TYPE_CHECKING:
    from tests.standins.kubernetes.structure import Schemas


def merge(target: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge(made.get(name), value)
    return made


def strategic(schemas: Schemas, schema: dict[str, Any], target: Any, patch: Any) -> Any:
    """Strategic merge patch, by the schema's ``x-kubernetes-patch-…``."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    made = dict(target) if isinstance(target, dict) else {}
    properties = schemas.resolve(schema).get("properties", {})
    for name, value in patch.items():
        inner = properties.get(name, {})
        key = inner.get("x-kubernetes-patch-merge-key")
        if value is None:
            made.pop(name, None)
        elif isinstance(value, list) and "merge" in inner.get("x-kubernetes-patch-strategy", ""):
            made[name] = _lists(schemas, inner.get("items", {}), key, made.get(name) or [], value)
        else:
            made[name] = strategic(schemas, inner, made.get(name), value)
    return made


def _lists(schemas: Schemas, schema: dict[str, Any], key: str | None, old: list[Any], patch: list[Any]) -> list[Any]:
    made = list(old)
    for one in patch:
        if key is None or not isinstance(one, dict):
            made += [one] if one not in made else []
            continue
        at = next((index for index, had in enumerate(made) if had.get(key) == one.get(key)), None)
        if one.get("$patch") == "delete":
            made = [had for had in made if had.get(key) != one.get(key)]
        elif at is None:
            made.append(one)
        else:
            made[at] = strategic(schemas, schema, made[at], one)
    return made


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """JSON Patch (RFC 6902). Raises a refusal where an operation does not apply."""
    made = copy.deepcopy(target)
    for one in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        try:
            made = _operate(made, one, path)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise bad_request(f"the server rejected our request due to an error in our request: {error}") from error
    return made


def _operate(made: Any, one: dict[str, Any], path: list[str]) -> Any:
    parent = made
    for part in path[:-1]:
        parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    last = path[-1]
    at: Any = (len(parent) if last == "-" else int(last)) if isinstance(parent, list) else last
    match one["op"]:
        case "add" if isinstance(parent, list):
            parent.insert(at, one["value"])
        case "add":
            parent[at] = one["value"]
        case "replace":
            parent[at]
            parent[at] = one["value"]
        case "remove":
            del parent[at]
        case "test":
            if parent[at] != one["value"]:
                raise ValueError(f"testing value {one['path']} failed")
        case word:
            raise ValueError(f"unsupported operation {word}")
    return made
