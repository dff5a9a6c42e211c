"""Who may do what in a workspace: one table, nothing else."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """A member's role, as in the API and in the database."""

    OWNER = "owner"
    MAINTAINER = "maintainer"
    DEVELOPER = "developer"
    GUEST = "guest"


class Action(StrEnum):
    """What a member may want to do in a workspace."""

    VIEW = "view"  # the workspace, its members, its sandboxes, its usage
    RENAME_WORKSPACE = "rename_workspace"
    DELETE_WORKSPACE = "delete_workspace"
    ADD_MEMBER = "add_member"  # of some role: see may_add
    REMOVE_MEMBER = "remove_member"  # of some role: see may_remove; everybody may leave
    CHANGE_ROLE = "change_role"
    CREATE_SANDBOX = "create_sandbox"
    CHANGE_SANDBOX = "change_sandbox"
    OPEN_SANDBOX = "open_sandbox"
    PAUSE_SANDBOX = "pause_sandbox"
    RESUME_SANDBOX = "resume_sandbox"
    DELETE_SANDBOX = "delete_sandbox"
    READ_LOGS = "read_logs"
    CONNECT_AGENT = "connect_agent"
    READ_AUDIT = "read_audit"


_GUEST: Final = frozenset({Action.VIEW})
_DEVELOPER: Final = _GUEST | {
    Action.CREATE_SANDBOX,
    Action.CHANGE_SANDBOX,
    Action.OPEN_SANDBOX,
    Action.PAUSE_SANDBOX,
    Action.RESUME_SANDBOX,
    Action.DELETE_SANDBOX,
    Action.READ_LOGS,
    Action.CONNECT_AGENT,
}
_MAINTAINER: Final = _DEVELOPER | {Action.RENAME_WORKSPACE, Action.ADD_MEMBER, Action.REMOVE_MEMBER}
_OWNER: Final = frozenset(Action)

PERMISSIONS: Final = MappingProxyType(
    {Role.OWNER: _OWNER, Role.MAINTAINER: _MAINTAINER, Role.DEVELOPER: _DEVELOPER, Role.GUEST: _GUEST}
)

# The roles that a role may give to newcomers and whose holders it may remove.
MANAGES: Final = MappingProxyType(
    {
        Role.OWNER: frozenset(Role),
        Role.MAINTAINER: frozenset({Role.DEVELOPER, Role.GUEST}),
        Role.DEVELOPER: frozenset[Role](),
        Role.GUEST: frozenset[Role](),
    }
)


def may(role: Role, action: Action) -> bool:
    """Whether ``role`` may do ``action``."""
    return action in PERMISSIONS[role]


def may_add(role: Role, new: Role) -> bool:
    """Whether ``role`` may add a member with the role ``new``."""
    return new in MANAGES[role]


def may_remove(role: Role, target: Role) -> bool:
    """Whether ``role`` may remove another member who has the role ``target``."""
    return target in MANAGES[role]
