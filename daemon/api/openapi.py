"""How routes say what they take and answer, and the OpenAPI document that is made of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from quart import Response, request
from quart_schema import Info, QuartSchema, document_request, hide
from quart_schema.openapi import APIKeySecurityScheme, HttpSecurityScheme, OpenAPIProvider

from daemon.api.problems import Problem, ProblemDetails, validation_problem
from daemon.auth import scopes
from daemon.ids import ID_PATTERN
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from quart import Quart
    from quart_schema.validation import DataSource
    from werkzeug.routing.converters import BaseConverter
    from werkzeug.routing.rules import Rule

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound="Callable[..., Any]")

_ATTRIBUTE = "_cli_server_description"
_TAKES = "_cli_server_takes_body"
_REF = "#/components/schemas/{model}"
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer: what it means, and its shape (a pydantic model, or a list of one) or its media type."""

    meaning: str
    shape: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Description:
    """What :func:`describe` says about a route."""

    answers: Mapping[int, Answer]
    problems: frozenset[int]
    public: bool
    query: Mapping[str, str]


_NOTHING = Description({}, frozenset(), public=False, query={})


def describe(
    answers: Mapping[int, Answer],
    *,
    problems: Iterable[int] = (),
    public: bool = False,
    query: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Describe a route: its good answers by status, and the statuses of its problems beyond those that all have.

    ``public`` routes are the only ones that are reached without a session. ``query``: its parameters and what they
    mean; all are optional texts.
    """

    def decorate(view: F) -> F:
        setattr(view, _ATTRIBUTE, Description(dict(answers), frozenset(problems), public, dict(query or {})))
        return view

    return decorate


def is_public(view: Callable[..., Any]) -> bool:
    """Whether a route needs no session."""
    return _description(view).public


def _description(view: Callable[..., Any]) -> Description:
    found: Description = getattr(view, _ATTRIBUTE, _NOTHING)
    return found


def takes(
    model: type[M],
) -> Callable[[Callable[Concatenate[M, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Give the handler the request's JSON body as its first argument. 400 if it is not JSON, 422 if it is not that."""

    def decorate(view: Callable[Concatenate[M, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @wraps(view)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            return await view(parse_body(model, cast("bytes", await request.get_data())), *args, **kwargs)

        setattr(wrapper, _TAKES, True)
        return document_request(model)(wrapper)

    return decorate


def parse_body(model: type[M], data: bytes) -> M:
    """A JSON text as a ``model``; raises :class:`Problem` and nothing else, whatever the bytes."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if any(item["type"] == "json_invalid" for item in error.errors(include_url=False, include_input=False)):
            raise Problem(400, "invalid_json", "The body is not well-formed JSON.") from None
        raise validation_problem(error) from None


class _Provider(OpenAPIProvider):
    """The document with what our routes have in common, from the same descriptions that the guard acts on."""

    def generate_rules(self) -> Iterable[Rule]:
        rules = [rule for rule in super().generate_rules() if rule.rule.startswith("/api/")]
        return sorted(rules, key=lambda rule: (rule.rule, sorted(rule.methods or ())))

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str:
        first, *rest = func.__name__.strip("_").split("_")
        return first + "".join(word.capitalize() for word in rest)

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter: dict[str, Any] = super().build_path_parameter(name, converter)
        parameter["name"] = _camel(name)
        if name.endswith("_id") and parameter["schema"] == {"type": "string"}:
            parameter["schema"]["pattern"] = f"^{ID_PATTERN}$"
        return parameter

    def build_request_body(self, model: Any, source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401
        components: dict[str, Any] = {}
        schema = _schema(model, components, mode="validation")
        return {"content": {"application/json": {"schema": schema}}, "required": True}, components

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        described = _description(view)
        takes_body = getattr(view, _TAKES, False)
        found: dict[str, Any] = {}
        for path, operations in paths.items():
            for method, operation in operations.items():
                operation["parameters"] += [
                    {"name": name, "in": "query", "schema": {"type": "string"}, "description": meaning}
                    for name, meaning in described.query.items()
                ]
                operation["responses"] = _responses(described, method.upper(), takes_body, components)
                operation["tags"] = [rule.endpoint.partition(".")[0]]
                operation["description"] = operation.get("description", "").strip()
                operation["security"] = _security(described, method.upper(), rule.rule)
            found[re.sub(r"\{(\w+)\}", lambda match: "{" + _camel(match[1]) + "}", path)] = operations
        return found, components


class _Untitled(GenerateJsonSchema):
    """Schemas without a title for each field: it would be the field's name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's own
        return False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _security(described: Description, method: str, route: str) -> list[dict[str, list[str]]]:
    """Who may use a route: a browser's session, or a token with the scope that it takes; ``{}`` is nobody at all."""
    scope = scopes.needed(method, route)
    if described.public:
        # Nobody is sent to sign in, and a token needs its scope as elsewhere.
        return [] if scope is None else [{}, {"session": []}, {"token": [scope.value]}]
    return [{"session": []}] if scope is None else [{"session": []}, {"token": [scope.value]}]


def _responses(
    described: Description, method: str, takes_body: bool, components: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    responses = {str(status): _response(answer, components) for status, answer in described.answers.items()}
    problems = set(described.problems) | {500, 503}
    if not described.public:
        problems |= {400, 401, 403}
    if method in _UNSAFE:
        problems |= {403, 413, 415, 429}
    if takes_body:
        problems |= {400, 422}
    shape = _schema(ProblemDetails, components)
    for status in sorted(problems):
        responses[str(status)] = {
            "description": _MEANINGS.get(status, "A problem."),
            "content": {"application/problem+json": {"schema": shape}},
        }
    for code, headers in _HEADERS.items():
        if code in responses:
            responses[code]["headers"] = headers
    return responses


_RETRY_AFTER = {
    "description": "Seconds until it makes sense to try again.",
    "schema": {"type": "integer", "minimum": 1},
}
# What clients act on.
_HEADERS: Mapping[str, dict[str, Any]] = {
    "302": {"Location": {"description": "Where to.", "required": True, "schema": {"type": "string"}}},
    "429": {"Retry-After": {**_RETRY_AFTER, "required": True}},
    "503": {"Retry-After": _RETRY_AFTER},
}


_MEANINGS = {
    400: "The body is not JSON, or the request has two credentials.",
    401: "Not signed in, or not with the right credentials.",
    403: "Not allowed, not within the scopes of the API token, or sent by a page of another site.",
    404: "No such thing, or not for the caller's eyes.",
    409: "In conflict with what is there.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "Members of the request are missing or wrong; `errors` lists them.",
    429: "Too many attempts or changes; `Retry-After` says when to try again, in seconds.",
    500: "A bug; the log has more.",
    503: "A part of the server does not answer; try again.",
}


def _response(answer: Answer, components: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.meaning}
    if answer.shape is not None:
        response["content"] = {answer.media_type: {"schema": _schema(answer.shape, components)}}
    elif answer.media_type != "application/json":
        response["content"] = {answer.media_type: {"schema": {"type": "string"}}}
    return response


def _schema(
    shape: Any,  # noqa: ANN401 - a pydantic model, or a list of one
    components: dict[str, Any],
    mode: Literal["serialization", "validation"] = "serialization",
) -> dict[str, Any]:
    """The schema of ``shape`` as it is sent or taken, with named shapes moved into ``components``."""
    schema = TypeAdapter(shape).json_schema(ref_template=_REF, mode=mode, schema_generator=_Untitled)
    components.update(schema.pop("$defs", {}))
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        components[shape.__name__] = schema
        return {"$ref": _REF.format(model=shape.__name__)}
    return schema


def register_openapi(app: Quart, cookie_name: str) -> None:
    """Serve the document at ``/api/openapi.json``; no page with scripts from elsewhere."""
    schema = QuartSchema(
        openapi_path=None,
        info=Info(title="cli-server", version=version()),
        security_schemes={
            "session": APIKeySecurityScheme(name=cookie_name, in_="cookie"),
            "token": HttpSecurityScheme(scheme="bearer", bearer_format=f"{scopes.PREFIX}…"),
        },
        security=[{"session": []}],
        openapi_provider_class=_Provider,
        conversion_preference="pydantic",
    )
    schema.init_app(app)

    @cache  # to make it takes as long as a hundred other answers, and anybody may ask for it
    def document() -> str:
        return json.dumps(schema.openapi_provider.schema())

    # The document tells nothing that the source does not; clients read it before they sign in.
    @app.get("/api/openapi.json")
    @describe({}, public=True)
    @hide
    async def openapi() -> Response:
        return Response(document(), content_type="application/json")
