"""What routes of sandboxes take and give, and which quantities they accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from daemon import values
from daemon.api.problems import invalid
from daemon.api.shapes import Body, Name, Shape, Time
from daemon.sandboxes.status import CLOUD, LOCAL, STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.api.parts import ApiParts
    from daemon.config import Settings
    from daemon.store.sandboxes import SandboxRow

_LEAST_MEMORY: Final = 128 * 2**20  # as that of AGENT_MEMORY_LIMIT: with less, opencode does not start
_LONGEST_QUANTITY: Final = 32  # characters; "9007199254740991Ki" is one nobody needs


def _as_text(value: object) -> object:
    """Numbers are taken where the text of one is: ``{"cpu": 2}``, ``{"idleTimeout": 0}`` (seconds)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    # Python refuses to write whole numbers of some thousand digits.
    return str(value) if abs(value) < 10**_LONGEST_QUANTITY else "too large"


def _duration(value: object) -> object:
    text = _as_text(value)
    return f"{text}s" if isinstance(text, str) and text.isdecimal() and text != "0" else text


_QUANTITY = StringConstraints(max_length=_LONGEST_QUANTITY)
_TEXT_OR_NUMBER = {"anyOf": [{"type": "string", "maxLength": _LONGEST_QUANTITY}, {"type": "number", "minimum": 0}]}


def _schema(*examples: str | float) -> WithJsonSchema:
    return WithJsonSchema(_TEXT_OR_NUMBER | {"examples": list(examples)})


Duration = Annotated[str, BeforeValidator(_duration), _QUANTITY, _schema("30m", "1h30m", 90, 0)]
Cores = Annotated[str, BeforeValidator(_as_text), _QUANTITY, _schema("2", "500m", 0.5)]
Size = Annotated[str, BeforeValidator(_as_text), _QUANTITY, _schema("2Gi", "512Mi")]
Status = Annotated[str, Field(json_schema_extra={"enum": sorted(STATUSES)})]
Kind = Annotated[str, Field(json_schema_extra={"enum": [CLOUD, LOCAL]})]


class WantedSandbox(Body):
    """A sandbox to create; everything has a default."""

    name: Name | None = None
    cpu: Cores | None = None
    memory: Size | None = None
    idle_timeout: Duration | None = None


class SandboxChange(Body):
    """What to change; what is absent stays. ``idleTimeout`` null: the server's."""

    # Made by functions, so that the document shows no default: what is absent is not that value.
    name: Name = Field(default_factory=str)
    idle_timeout: Duration | None = Field(default_factory=lambda: None)


class Creator(Shape):
    """Who made a sandbox, or the code by which a machine joined."""

    id: str
    username: str


class Sandbox(Shape):
    """A sandbox. ``url`` holds no secret.

    A local one has no limits and no idle timeout: they are null. ``agentInfo``: what its machine said of itself.
    ``createdBy`` is null when the user is gone.
    """

    id: str
    workspace_id: str
    name: str
    type: Kind
    status: Status
    status_reason: str | None
    is_local: bool
    url: str
    created_at: Time
    last_activity_at: Time
    paused_at: Time | None
    last_heartbeat_at: Time | None
    idle_timeout: str | None
    cpu: str | None
    memory: str | None
    created_by: Creator | None
    agent_info: dict[str, str] | None


def sandbox_shape(parts: ApiParts, row: SandboxRow) -> Sandbox:
    """The row as the API shows it, with the server's values where it has none of its own."""
    settings = parts.settings
    seen = parts.last_activity(row.id)
    local = row.type == LOCAL
    return Sandbox(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        type=row.type,
        status=row.status,
        status_reason=row.status_reason,
        is_local=local,
        url=settings.host_origin(f"oc-{row.id}") + "/",
        created_at=row.created_at,
        last_activity_at=row.last_activity_at if seen is None else max(seen, row.last_activity_at),
        paused_at=row.paused_at,
        last_heartbeat_at=row.last_heartbeat_at,
        idle_timeout=None if local else row.idle_timeout or values.duration_text(settings.idle_timeout),
        cpu=None if local else row.cpu or cpu_text(settings),
        memory=None if local else row.memory or values.size_text(settings.agent_memory_limit),
        created_by=_creator(row),
        agent_info=None if row.agent_info is None else dict(row.agent_info),
    )


def _creator(row: SandboxRow) -> Creator | None:
    return None if row.created_by is None or row.creator is None else Creator(id=row.created_by, username=row.creator)


def cpu_text(settings: Settings) -> str:
    """The cores that a sandbox may have, as the API writes them."""
    return f"{settings.agent_cpu_limit:g}"


def _check(field: str, text: str | None, parse: Callable[[str], float], most: float, accepted: str) -> None:
    """Raise the 422 for a text that is no such quantity, or more than the server gives."""
    if text is None:
        return
    try:
        fault = "it is above this server's limit" if parse(text) > most else ""
    except ValueError as error:
        fault = str(error)
    else:
        if not fault:
            return
    raise invalid((field, f"must be {accepted}" + (f"; {fault}" if fault else "")))


def check_limits(settings: Settings, wanted: WantedSandbox) -> None:
    """Raise the 422 for more than this server gives, and for less than a sandbox can live on."""
    cpus, memory = settings.agent_cpu_limit, settings.agent_memory_limit
    least = values.size_text(_LEAST_MEMORY)
    size = values.size_from(_LEAST_MEMORY, least)
    _check("cpu", wanted.cpu, values.cores, cpus, f"cores, such as 2, 0.5 or 500m, up to {cpus:g}")
    _check("memory", wanted.memory, size, memory, f"a size such as 1Gi, from {least} to {values.size_text(memory)}")
    check_timeout(wanted.idle_timeout)


def check_timeout(text: str | None) -> None:
    """Raise the 422 for what is no duration."""
    most = 366 * 86400.0  # values.duration refuses longer ones itself
    _check("idleTimeout", text, values.duration, most, "a time such as 30m, 90s or 1h30m, up to 366d, or 0 for never")
