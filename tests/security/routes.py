"""The table of routes: who gets what answer. Written from the contract's text, section 3, not from the code.

Its columns are the contract's: method and path, who may, and what they get. What everybody else gets follows from two
sentences there: who is not signed in gets 401, and a non-member gets the same 404 for what exists and for what does
not. A member whose role is too low gets 403.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.security.cast import Cast

ROLES: Final = ("guest", "developer", "maintainer", "owner")
# An admin is none of the workspace's members. Who is disabled was a developer in it, and still has the cookie.
ACTORS: Final = ("anonymous", "disabled", "stranger", "admin", *ROLES)

Who = MappingProxyType[str, int]  # the answer of those who may not

ANYONE: Final[Who] = MappingProxyType({})
SIGNED_IN: Final[Who] = MappingProxyType({"anonymous": 401, "disabled": 401})
ADMIN: Final[Who] = MappingProxyType({"anonymous": 401, "disabled": 401, "stranger": 403, **dict.fromkeys(ROLES, 403)})


def _members(*allowed: str) -> Who:
    refused = {role: 403 for role in ROLES if role not in allowed}
    return MappingProxyType({"anonymous": 401, "disabled": 401, "stranger": 404, "admin": 404, **refused})


MEMBER: Final = _members(*ROLES)
DEVELOPER_UP: Final = _members("developer", "maintainer", "owner")
MAINTAINER_UP: Final = _members("maintainer", "owner")
OWNER: Final = _members("owner")

# Scopes of API tokens. A token acts as its user, within these; what has none of them is for people only.
READ, WRITE, OPEN, ADMINISTER = "read", "write", "open", "admin"
SCOPES: Final = (READ, WRITE, OPEN, ADMINISTER)
PEOPLE: Final = "people"  # 403 for every token
PUBLIC: Final = "public"  # nobody asks who it is


def nothing_to_prepare(cast: Cast) -> dict[str, str]:
    """What is there already will do."""
    return {}


@dataclass(frozen=True)
class Route:
    """One line of the table.

    ``prepare`` makes what this line needs anew before each request, and gives the values of path parameters that differ
    from the usual ones. ``body`` may be made from them. ``own``: the request ends the session that it is sent with, so
    each is sent with a session of its own. ``scope``: what a token needs. ``nowhere``: the answer of who may, where the
    thing does not exist; ``None`` if the path names nothing.
    """

    method: str
    path: str
    who: Who
    status: int
    body: Any = None
    prepare: Callable[[Cast], dict[str, str]] = nothing_to_prepare
    own: bool = False
    scope: str = ""
    but: Mapping[str, int] = field(default_factory=dict)
    what: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.method} {self.path}" + (f" ({self.what})" if self.what else "")

    @property
    def bound(self) -> bool:
        """Whether it is about something of a workspace, which only members may know of."""
        return "stranger" in self.who and self.who["stranger"] == 404

    @property
    def needed(self) -> str:
        """The scope that a token needs."""
        return self.scope or (READ if self.method == "GET" else WRITE)

    def expected(self, actor: str) -> int:
        """The status that ``actor`` gets."""
        return self.but.get(actor, self.who.get(actor, self.status))


# What has to be there first.


def a_newcomer(cast: Cast) -> dict[str, str]:
    """Somebody who is no member."""
    cast.set_role("prey", None)
    return {}


def _prey(role: str) -> Callable[[Cast], dict[str, str]]:
    def prepare(cast: Cast) -> dict[str, str]:
        cast.set_role("prey", role)
        return {"userId": cast.ids["prey"]}

    return prepare


a_guest, a_developer, a_maintainer = _prey("guest"), _prey("developer"), _prey("maintainer")


def the_only_owner(cast: Cast) -> dict[str, str]:
    """The owner, who is the only one."""
    return {"userId": cast.ids["owner"]}


def a_workspace(cast: Cast) -> dict[str, str]:
    """Another workspace with the same members."""
    return {"workspaceId": cast.another_workspace()}


def a_sandbox(cast: Cast) -> dict[str, str]:
    """Another sandbox in the workspace, that nobody needs."""
    return {"sandboxId": cast.sandbox()}


def the_paused(cast: Cast) -> dict[str, str]:
    """The sandbox that is paused."""
    return {"sandboxId": cast.ids["paused"]}


def the_local(cast: Cast) -> dict[str, str]:
    """The machine that has joined."""
    return {"sandboxId": cast.ids["local"]}


def a_code(cast: Cast) -> dict[str, str]:
    """A code for a machine."""
    return {"code": cast.code()}


def an_account(cast: Cast) -> dict[str, str]:
    """A name that nobody has, and one that somebody has."""
    return {"fresh": cast.fresh_name(), "account": cast.spare}


def a_session(cast: Cast) -> dict[str, str]:
    """Another session of whoever asks."""
    return {"sessionId": "MINE"}


def an_invitation(cast: Cast) -> dict[str, str]:
    """An invitation of the owner's."""
    return {"invitationId": cast.invitation("guest")[0]}


def a_link(cast: Cast) -> dict[str, str]:
    """The secret of an invitation that has not been used. Who came by the one before leaves again."""
    cast.expel()
    return {"token": cast.invitation("guest")[1]}


def a_token(cast: Cast) -> dict[str, str]:
    """A token of whoever asks."""
    return {"tokenId": "MINE"}


_PASSWORD: Final = "correct horse battery staple"
_MEMBERS: Final = "/api/workspaces/{workspaceId}/members"
_MEMBER: Final = "/api/workspaces/{workspaceId}/members/{userId}"
_INVITATIONS: Final = "/api/workspaces/{workspaceId}/invitations"
_SANDBOX: Final = "/api/sandboxes/{sandboxId}"

TABLE: Final = (
    # Health and who is there.
    Route("GET", "/healthz", ANYONE, 200, scope=PUBLIC),
    Route("GET", "/readyz", ANYONE, 200, scope=PUBLIC),
    Route("GET", "/api/openapi.json", ANYONE, 200, scope=PUBLIC),
    Route("GET", "/api/server", SIGNED_IN, 200),
    # Signing in.
    Route("GET", "/api/auth/registration", ANYONE, 200, scope=PUBLIC),
    Route("POST", "/api/auth/register", ANYONE, 201, {"username": "{fresh}", "password": _PASSWORD},
          an_account, own=True, scope=PUBLIC),
    Route("POST", "/api/auth/register", ANYONE, 409, {"username": "{account}", "password": _PASSWORD},
          an_account, scope=PUBLIC, what="a name that is taken"),
    Route("POST", "/api/auth/register", ANYONE, 422, {"username": "{fresh}", "password": "short"},
          an_account, scope=PUBLIC, what="a weak password"),
    Route("POST", "/api/auth/login", ANYONE, 200, {"username": "{account}", "password": _PASSWORD},
          an_account, own=True, scope=PUBLIC),
    Route("POST", "/api/auth/login", ANYONE, 401, {"username": "{fresh}", "password": _PASSWORD},
          an_account, scope=PUBLIC, what="nobody's name"),
    Route("POST", "/api/auth/logout", SIGNED_IN, 204, own=True, scope=PEOPLE),
    Route("GET", "/api/auth/me", SIGNED_IN, 200),
    Route("GET", "/api/auth/sessions", SIGNED_IN, 200, scope=PEOPLE),
    Route("DELETE", "/api/auth/sessions/{sessionId}", SIGNED_IN, 204, prepare=a_session, scope=PEOPLE),
    Route("GET", "/api/auth/oidc/providers", ANYONE, 200, scope=PUBLIC),
    Route("GET", "/api/auth/oidc/{provider}/login", ANYONE, 302, scope=PUBLIC),
    Route("GET", "/api/auth/oidc/{provider}/callback", ANYONE, 302, scope=PUBLIC),
    Route("GET", "/api/auth/oidc/{provider}/logout", ANYONE, 302, scope=PUBLIC),
    Route("POST", "/api/auth/oidc/{provider}/start", ANYONE, 200, {}, scope=PUBLIC),
    Route("POST", "/api/auth/oidc/{provider}/start", SIGNED_IN, 200, {"link": True}, scope=PEOPLE, what="to link"),
    Route("GET", "/api/auth/identities", SIGNED_IN, 200, scope=PEOPLE),
    Route("DELETE", "/api/auth/identities/{identityId}", SIGNED_IN, 404, scope=PEOPLE, what="nobody's"),
    Route("GET", "/api/auth/tokens", SIGNED_IN, 200, scope=PEOPLE),
    Route("POST", "/api/auth/tokens", SIGNED_IN, 201, {"name": "mine", "scopes": ["read"]}, scope=PEOPLE),
    Route("DELETE", "/api/auth/tokens/{tokenId}", SIGNED_IN, 204, prepare=a_token, scope=PEOPLE),
    # Workspaces.
    Route("GET", "/api/workspaces", SIGNED_IN, 200),
    Route("POST", "/api/workspaces", SIGNED_IN, 201, {"name": "another"}),
    Route("GET", "/api/workspaces/{workspaceId}", MEMBER, 200),
    Route("PATCH", "/api/workspaces/{workspaceId}", MAINTAINER_UP, 200, {"name": "renamed"}),
    Route("DELETE", "/api/workspaces/{workspaceId}", OWNER, 204, prepare=a_workspace),
    Route("GET", "/api/workspaces/{workspaceId}/contents", MEMBER, 200),
    # Members. "add and remove developers and guests": maintainers.
    Route("GET", _MEMBERS, MEMBER, 200),
    Route("POST", _MEMBERS, MAINTAINER_UP, 201, {"username": "prey", "role": "guest"}, a_newcomer, what="a guest"),
    Route("POST", _MEMBERS, MAINTAINER_UP, 201, {"username": "prey", "role": "developer"}, a_newcomer,
          what="a developer"),
    Route("POST", _MEMBERS, OWNER, 201, {"username": "prey", "role": "maintainer"}, a_newcomer, what="a maintainer"),
    Route("POST", _MEMBERS, OWNER, 201, {"username": "prey", "role": "owner"}, a_newcomer, what="an owner"),
    Route("POST", _MEMBERS, MAINTAINER_UP, 404, {"username": "nobody-here", "role": "guest"}, what="nobody"),
    Route("POST", _MEMBERS, MAINTAINER_UP, 409, {"username": "prey", "role": "guest"}, a_guest, what="a member"),
    Route("PUT", _MEMBER, OWNER, 200, {"role": "developer"}, a_guest),
    Route("PUT", _MEMBER, OWNER, 409, {"role": "guest"}, the_only_owner, what="the last owner"),
    Route("DELETE", _MEMBER, MAINTAINER_UP, 204, prepare=a_guest, what="a guest"),
    Route("DELETE", _MEMBER, MAINTAINER_UP, 204, prepare=a_developer, what="a developer"),
    Route("DELETE", _MEMBER, OWNER, 204, prepare=a_maintainer, what="a maintainer"),
    Route("DELETE", _MEMBER, OWNER, 409, prepare=the_only_owner, what="the last owner"),
    # Invitations: to whom one may add as a member.
    Route("GET", _INVITATIONS, MAINTAINER_UP, 200),
    Route("POST", _INVITATIONS, MAINTAINER_UP, 201, {"role": "guest"}, scope=PEOPLE, what="as a guest"),
    Route("POST", _INVITATIONS, MAINTAINER_UP, 201, {"role": "developer"}, scope=PEOPLE, what="as a developer"),
    Route("POST", _INVITATIONS, OWNER, 201, {"role": "maintainer"}, scope=PEOPLE, what="as a maintainer"),
    Route("POST", _INVITATIONS, OWNER, 201, {"role": "owner"}, scope=PEOPLE, what="as an owner"),
    Route("DELETE", _INVITATIONS + "/{invitationId}", MAINTAINER_UP, 204, prepare=an_invitation),
    Route("POST", "/api/invitations/look", ANYONE, 200, {"token": "{token}"}, a_link, scope=PUBLIC),
    Route("POST", "/api/invitations/accept", SIGNED_IN, 409, {"token": "{token}"}, a_link, scope=PEOPLE,
          but={"stranger": 200, "admin": 200}),
    # Sandboxes.
    Route("GET", "/api/workspaces/{workspaceId}/sandboxes", MEMBER, 200),
    Route("POST", "/api/workspaces/{workspaceId}/sandboxes", DEVELOPER_UP, 201, {"name": "box"}),
    Route("GET", _SANDBOX, MEMBER, 200),
    Route("PATCH", _SANDBOX, DEVELOPER_UP, 200, {"name": "named"}),
    Route("DELETE", _SANDBOX, DEVELOPER_UP, 204, prepare=a_sandbox),
    Route("POST", _SANDBOX + "/pause", DEVELOPER_UP, 409, prepare=the_paused, what="one that is paused"),
    Route("POST", _SANDBOX + "/pause", DEVELOPER_UP, 409, prepare=the_local, what="a machine"),
    Route("POST", _SANDBOX + "/resume", DEVELOPER_UP, 409, what="one that runs"),
    Route("POST", _SANDBOX + "/resume", DEVELOPER_UP, 409, prepare=the_local, what="a machine"),
    Route("GET", _SANDBOX + "/logs", DEVELOPER_UP, 200),
    Route("GET", _SANDBOX + "/logs", DEVELOPER_UP, 409, prepare=the_local, what="of a machine"),
    Route("GET", _SANDBOX + "/ports", DEVELOPER_UP, 200),
    Route("GET", _SANDBOX + "/open", DEVELOPER_UP, 302, scope=OPEN),
    Route("GET", _SANDBOX + "/usage", MEMBER, 200),
    Route("GET", "/api/workspaces/{workspaceId}/usage", MEMBER, 200),
    Route("GET", "/api/workspaces/{workspaceId}/activity", MEMBER, 200),
    # Machines.
    Route("POST", "/api/workspaces/{workspaceId}/agent-code", DEVELOPER_UP, 201, scope=WRITE),
    Route("POST", "/api/agent/register", ANYONE, 201, {"code": "{code}"}, a_code, scope=PUBLIC),
    Route("POST", "/api/agent/register", ANYONE, 401, {"code": "WRONG-CODE"}, scope=PUBLIC, what="a wrong code"),
    Route("GET", "/api/tunnel/{sandboxId}", ANYONE, 426, prepare=the_local, scope=PUBLIC, what="without an upgrade"),
    # What is told to whom.
    Route("GET", "/api/events", SIGNED_IN, 200),
    Route("GET", "/api/workspaces/{workspaceId}/audit", OWNER, 200),
    Route("GET", "/api/admin/users", ADMIN, 200, scope=ADMINISTER),
    Route("PATCH", "/api/admin/users/{userId}", ADMIN, 200, {"disabled": False}, a_guest, scope=ADMINISTER),
    Route("PATCH", "/api/admin/users/{userId}", ADMIN, 404, {"disabled": True}, scope=ADMINISTER, what="nobody"),
    Route("GET", "/api/admin/workspaces", ADMIN, 200, scope=ADMINISTER),
    Route("GET", "/api/admin/sandboxes", ADMIN, 200, scope=ADMINISTER),
    Route("GET", "/api/admin/audit", ADMIN, 200, scope=ADMINISTER),
    # The model: a sandbox's proxy token, which no person has.
    Route("GET", "/proxy/anthropic/v1/models", ANYONE, 401, scope=PUBLIC, what="without a token"),
    # Unknown paths below /api/ are 404 problems.
    Route("GET", "/api/nothing", ANYONE, 404, scope=PUBLIC),
    Route("GET", "/api", ANYONE, 404, scope=PUBLIC),
)  # fmt: skip
# Of the table, what the OpenAPI document does not describe: it is about JSON for people and scripts.
UNDESCRIBED: Final = {
    "/healthz", "/readyz", "/api/openapi.json", "/api/tunnel/{}", "/proxy/anthropic/v1/models", "/api/nothing", "/api",
}  # fmt: skip
