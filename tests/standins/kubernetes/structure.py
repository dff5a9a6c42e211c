"""Values against structural schemas: what is unknown is taken out, defaults are filled in, and what is wrong is listed.

One walk for both kinds of schemas: the ``openAPIV3Schema`` of a definition, and Kubernetes' own, whose types are
``$ref``s into one file of definitions. It knows the words that these schemas use, and refuses to read others.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tests.standins.kubernetes import quantities

Cause = tuple[str, str, str]  # reason, field, message

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip
_WIDTH: Final = {"int32": 2**31, "int64": 2**63}
_READ: Final = {
    *("type", "properties", "required", "items", "additionalProperties", "enum", "format", "default", "description"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "$ref", "oneOf", "anyOf"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    *("x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-group-version-kind"),
    *("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-unions", "nullable", "$schema"),
    *("$defs", "minProperties", "maxProperties"),
}


@dataclass
class Found:
    """What one walk has seen: causes of a refusal, those among them that are of the wrong type, and unknown fields."""

    causes: list[Cause] = field(default_factory=list)
    mistyped: list[Cause] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, reason: str, where: str, message: str) -> None:
        """One more cause."""
        self.causes.append((reason, where, message))


@dataclass(frozen=True)
class Schemas:
    """Reads ``$ref``s. ``metadata`` of a definition's object is not the definition's business."""

    definitions: dict[str, Any] = field(default_factory=dict)

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema itself, behind its references."""
        while (ref := schema.get("$ref")) is not None:
            schema = self.definitions[ref.rpartition("/")[2]]
        return schema

    def take(self, schema: dict[str, Any], value: dict[str, Any]) -> tuple[dict[str, Any], Found]:
        """A copy of an object with defaults and without unknown fields, and what is wrong with it."""
        found = Found()
        return self._walk(schema, copy.deepcopy(value), "", found), found

    def _walk(self, schema: dict[str, Any], value: Any, where: str, found: Found) -> Any:
        schema = self.resolve(schema)
        unread = schema.keys() - _READ
        assert not unread, f"the stand-in does not read {unread} of a schema"
        if schema.get("x-kubernetes-int-or-string") or "oneOf" in schema:
            self._int_or_string(schema, value, where, found)
            return value
        expected = _expected(schema)
        if expected and not _is(value, expected):
            kind = _name_of(value)
            text = f'Invalid value: "{kind}": {where} in body must be of type {expected}: "{kind}"'
            found.mistyped.append(("FieldValueTypeInvalid", where, text))
            found.add("FieldValueTypeInvalid", where, text)
            return value
        if isinstance(value, dict):
            value = self._object(schema, value, where, found)
        elif isinstance(value, list):
            value = self._array(schema, value, where, found)
        _leaf(schema, value, where, found)
        return value

    def _object(self, schema: dict[str, Any], value: dict[str, Any], where: str, found: Found) -> dict[str, Any]:
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties")
        for name, inner in properties.items():
            default = self.resolve(inner).get("default")
            if default is not None and value.get(name) is None:
                value[name] = copy.deepcopy(default)
        for name in schema.get("required", ()):
            if value.get(name) is None:
                found.add("FieldValueRequired", _join(where, name), "Required value")
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or not (
            properties or "additionalProperties" in schema
        )
        made: dict[str, Any] = {}
        for name, inner in value.items():
            inside = _join(where, name)
            if name in properties:
                if inner is not None:  # null is absence
                    made[name] = self._walk(properties[name], inner, inside, found)
            elif isinstance(more, dict) and more:
                made[name] = self._walk(more, inner, f"{where}.{name}" if where else name, found)
            elif more or open_ended:
                made[name] = inner
            else:
                found.unknown.append(inside)
        return made

    def _array(self, schema: dict[str, Any], value: list[Any], where: str, found: Found) -> list[Any]:
        inner = schema.get("items", {})
        made = [self._walk(inner, one, f"{where}[{at}]", found) for at, one in enumerate(value)]
        seen: list[Any] = []
        kind = schema.get("x-kubernetes-list-type")
        for at, one in enumerate(made):
            if kind == "map" and isinstance(one, dict):
                one = [one.get(name) for name in schema["x-kubernetes-list-map-keys"]]
            if kind in ("map", "set") and one in seen:
                found.add("FieldValueDuplicate", f"{where}[{at}]", f"Duplicate value: {one!r}")
            seen.append(one)
        return made

    def _int_or_string(self, schema: dict[str, Any], value: Any, where: str, found: Found) -> None:
        numbers: tuple[type, ...] = (int, str)
        if any("number" in _all_types(one) for one in schema.get("oneOf", ())):
            numbers = (int, float, str)
            try:
                quantities.parse(value)
            except ValueError as error:
                found.mistyped.append(("FieldValueInvalid", where, str(error)))
                found.add("FieldValueInvalid", where, f"Invalid value: {value!r}: {error}")
                return
        if isinstance(value, bool) or not isinstance(value, numbers):
            cause = (
                "FieldValueTypeInvalid",
                where,
                f'Invalid value: "{_name_of(value)}": must be an integer or a string',
            )
            found.mistyped.append(cause)
            found.causes.append(cause)
        elif "pattern" in schema and not re.search(schema["pattern"], str(value)):
            found.add("FieldValueInvalid", where, f"Invalid value: {value!r}: should match '{schema['pattern']}'")


def _all_types(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _expected(schema: dict[str, Any]) -> str | None:
    return next((kind for kind in _all_types(schema) if kind != "null"), None)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _name_of(value: object) -> str:
    if value is None:
        return "null"
    return next(
        (name for name in ("object", "array", "string", "boolean", "integer", "number") if _is(value, name)), ""
    )


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _leaf(schema: dict[str, Any], value: Any, where: str, found: Found) -> None:
    """What is asked of a value beside its type and its parts."""

    def wrong(text: str, reason: str = "FieldValueInvalid") -> None:
        found.add(reason, where, f"Invalid value: {value!r}: {where} in body {text}")

    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(f'"{one}"' for one in schema["enum"])
        found.add("FieldValueNotSupported", where, f'Unsupported value: "{value}": supported values: {allowed}')
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            wrong(f"should match '{schema['pattern']}'")
        if (why := _format(schema.get("format"), value)) is not None:
            wrong(why)
    size = len(value) if isinstance(value, str | list | dict) else None
    for word, text in (("Length", "chars long"), ("Items", "items"), ("Properties", "properties")):
        if size is not None and size < schema.get(f"min{word}", 0):
            wrong(f"should be at least {schema[f'min{word}']} {text}")
        if size is not None and f"max{word}" in schema and size > schema[f"max{word}"]:
            found.add("FieldValueTooLong", where, f"Too long: may not be more than {schema[f'max{word}']} {text}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            wrong(f"should be greater than or equal to {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            wrong(f"should be less than or equal to {schema['maximum']}")
        width = _WIDTH.get(schema.get("format", ""))
        if width is not None and not -width <= value < width:
            wrong(f"must be of type {schema['format']}")


def _format(name: str | None, value: str) -> str | None:
    """Why a text is not of a format, for the formats that are checked."""
    if name == "date-time":
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return "must be of type date-time"
        return None if moment.tzinfo is not None and "T" in value else "must be of type date-time"
    if name == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            return "must be of type byte"
    return None
