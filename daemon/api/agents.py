"""Routes by which a machine joins: a member gets a code, the machine's agent exchanges it for a token of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import StringConstraints
from quart import Blueprint

from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, too_many_attempts
from daemon.api.shapes import Body, Name, Shape, Time, answer
from daemon.auth.codes import LONGEST_TYPED, code_hash, new_code
from daemon.auth.throttle import Bucket, Crowded, network
from daemon.ids import new_id
from daemon.secret import new_token, token_hash
from daemon.store import attempts, tunnels
from daemon.store.attempts import Blocked
from daemon.store.tunnels import NewLocalSandbox

if TYPE_CHECKING:
    from quart import Response

    from daemon.db.database import Connection
    from daemon.store.sandboxes import SandboxRow

blueprint = Blueprint("agents", __name__)

# Codes cannot be guessed; this bounds what trying costs us. A team that sets up its machines from one office mistypes
# less often than that in an hour, and codes that are right do not count.
FREE_CODES: Final = 20

Code = Annotated[str, StringConstraints(max_length=LONGEST_TYPED)]


class AgentCode(Shape):
    """A code that lets one machine into the workspace, once."""

    code: str
    expires_at: Time


class Joining(Body):
    """A machine that wants to join. ``name``: what its sandbox is called; it can be changed later."""

    code: Code
    name: Name | None = None


class Joined(Shape):
    """What a machine's agent keeps. The token is told only here."""

    sandbox_id: str
    tunnel_token: str
    workspace_id: str
    name: str


@blueprint.post("/api/workspaces/<workspace_id>/agent-code")
@describe({201: Answer("A new code; it works once, for ten minutes.", AgentCode)}, problems=[404])
async def create_agent_code(workspace_id: str) -> Response:
    """Get a code with which a machine joins the workspace: developers and up."""
    code = new_code()
    expires_at = await parts().db.run(tunnels.create_code, code_hash(code), workspace_id, guard.actor())
    return answer(AgentCode(code=code, expires_at=expires_at), 201)


@blueprint.post("/api/agent/register")
@describe({201: Answer("Joined; the sandbox is offline until its agent connects.", Joined)},
          problems=[401, 429], public=True)  # fmt: skip
@takes(Joining)
async def register_agent(joining: Joining) -> Response:
    """Join with a code, as a new local sandbox of the workspace that the code was made in."""
    bucket = Bucket(f"code:{network(guard.client_ip())}", FREE_CODES)
    token = new_token()
    new = NewLocalSandbox(new_id(), joining.name, token_hash(token))
    try:
        # One at a time for each address, or somebody who tries takes all connections to the database.
        async with parts().turns.turn(bucket):
            made = await parts().db.run(_join, bucket, code_hash(joining.code), new, guard.client_ip())
    except Crowded:
        raise too_many_attempts(1) from None
    if isinstance(made, Blocked):
        raise too_many_attempts(made.seconds)
    if made is None:
        raise Problem(
            401,
            "invalid_code",
            "This code is wrong, was used already, or has expired. No machine was added. Get a new code on the "
            "workspace's page; it works once, for ten minutes.",
        )
    joined = Joined(sandbox_id=made.id, tunnel_token=token, workspace_id=made.workspace_id, name=made.name)
    return answer(joined, 201)


def _join(
    conn: Connection, bucket: Bucket, hashed: bytes, new: NewLocalSandbox, ip: str
) -> SandboxRow | Blocked | None:
    """One transaction: the attempt is counted, and taken back if the code was right."""
    attempt = attempts.begin(conn, [bucket])
    if isinstance(attempt, Blocked):
        return attempt
    made = tunnels.redeem_code(conn, hashed, new, ip)
    if made is not None:
        attempts.take_back(conn, attempt, None)
    return made
