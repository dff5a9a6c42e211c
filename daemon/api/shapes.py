"""The base of all JSON shapes: names are camelCase outside and snake_case inside, times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from quart import Response


def _utc(time: datetime) -> datetime:
    """PostgreSQL gives times in the zone of its session; outside they end in ``Z``."""
    return time.astimezone(UTC)


Time = Annotated[datetime, AfterValidator(_utc)]

# Names that people give. No control characters, which would reach pages, logs and terminals; nor those that break lines
# or turn the direction of writing: with them a name says something else to whoever reads it, or what stands beside it.
_NAMES = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_NAMES)]


class Shape(BaseModel):
    """A JSON object that we send. Made with the snake_case names of its fields."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True)


class Body(BaseModel):
    """A JSON object that clients send.

    Members that we do not know are ignored, so that a client that is newer than the server still works with it; what
    we do know is checked strictly, without turning ``1`` into ``"1"``.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True, frozen=True)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401
    """``value``, a :class:`Shape` or a list or dict of them, as a JSON response."""
    text = TypeAdapter(type(value)).dump_json(value, by_alias=True)
    return Response(text, status, headers, content_type="application/json")


def nothing(headers: dict[str, str] | None = None) -> Response:
    """The empty response 204."""
    response = Response(b"", 204, headers)
    for name in ("content-type", "content-length"):
        response.headers.pop(name, None)
    return response
