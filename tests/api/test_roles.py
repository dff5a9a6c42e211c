"""The contract's table of roles, read from the other side."""

from __future__ import annotations

import pytest

from daemon.auth.roles import PERMISSIONS, Action, Role, may, may_add, may_remove

O, M, D, G = Role.OWNER, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST  # noqa: E741

WHO_MAY = {
    Action.VIEW: {O, M, D, G},
    Action.RENAME_WORKSPACE: {O, M},
    Action.DELETE_WORKSPACE: {O},
    Action.ADD_MEMBER: {O, M},
    Action.REMOVE_MEMBER: {O, M},
    Action.CHANGE_ROLE: {O},
    Action.CREATE_SANDBOX: {O, M, D},
    Action.CHANGE_SANDBOX: {O, M, D},
    Action.OPEN_SANDBOX: {O, M, D},
    Action.PAUSE_SANDBOX: {O, M, D},
    Action.RESUME_SANDBOX: {O, M, D},
    Action.DELETE_SANDBOX: {O, M, D},
    Action.READ_LOGS: {O, M, D},
    Action.CONNECT_AGENT: {O, M, D},
    Action.READ_AUDIT: {O},
}


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_who_may_what(role: Role, action: Action) -> None:
    """Lesson: guests could delete, pause, and fully use sandboxes."""
    assert may(role, action) is (role in WHO_MAY[action])


def test_the_table_is_whole() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert set(WHO_MAY) == set(Action)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("other", Role)
def test_who_may_add_and_remove_whom(role: Role, other: Role) -> None:
    """Lesson: maintainers could add owners."""
    allowed = {O: {O, M, D, G}, M: {D, G}, D: set(), G: set()}
    assert may_add(role, other) is (other in allowed[role])
    assert may_remove(role, other) is (other in allowed[role])
