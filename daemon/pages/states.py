"""What the gateway says instead of a sandbox: one line of this table per state, the same for pages and for programs.

Every text answers: what happened, is anything lost, what can be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Icon = Literal["wait", "pause", "away", "stop", "lock", "search"]

# Seconds. opencode is up after 3 to 8; a page every two is light and late by one on average.
SOON = 2
# An agent that reconnects or a database that restarts takes its own time.
LATER = 10


@dataclass(frozen=True, slots=True)
class Look:
    """How one state looks. ``{name}``, ``{port}`` and ``{main}`` are filled in; ``action`` labels the way out."""

    status: int
    code: str
    word: str
    icon: Icon
    title: str
    text: str
    action: str = ""
    refresh: int = 0  # seconds; the page loads itself again, and programs are told the same in Retry-After
    retry_after: int = 0  # seconds, where the page does not load itself
    logs: bool = False  # whether the sandbox's log can help


class State(Enum):
    """What there is to say."""

    STARTING = Look(
        503,
        "sandbox_starting",
        "Starting",
        "wait",
        "{name} is starting",
        "It takes some ten seconds. This page opens the sandbox as soon as it answers.",
        refresh=SOON,
        logs=True,
    )
    RESUMING = Look(
        503,
        "sandbox_resuming",
        "Resuming",
        "wait",
        "{name} is resuming",
        "Its files are as they were. It takes some ten seconds; this page opens the sandbox as soon as it answers.",
        refresh=SOON,
        logs=True,
    )
    PAUSING = Look(
        503,
        "sandbox_pausing",
        "Pausing",
        "wait",
        "{name} is being paused",
        "Its programs are being stopped, its files are kept. This page looks again by itself.",
        refresh=SOON,
    )
    PAUSED = Look(
        503,
        "sandbox_paused",
        "Paused",
        "pause",
        "{name} is paused",
        "Its programs are stopped, its files are kept. To resume it takes some ten seconds.",
        action="Resume",
    )
    OFFLINE = Look(
        503,
        "sandbox_offline",
        "Offline",
        "away",
        "{name} is offline",
        "It runs on a machine that is not connected now. Nothing on that machine is lost. Wake it, or start the agent "
        "there again: cli-server agent connect. This page looks again by itself.",
        refresh=LATER,
    )
    FAILED = Look(
        503,
        "sandbox_failed",
        "Failed",
        "stop",
        "{name} has failed",
        "It does not run. Its files are kept. Trying again starts it anew with the same files.",
        action="Try again",
        logs=True,
    )
    DELETING = Look(
        404,
        "sandbox_deleting",
        "Deleting",
        "away",
        "{name} is being deleted",
        "The sandbox and its home directory are being removed. The disk that the workspace shares is kept.",
    )
    LOCAL_DELETING = Look(
        404,
        "sandbox_deleting",
        "Deleting",
        "away",
        "{name} is being removed",
        "The machine is being disconnected for good. What runs and lies on it stays as it is.",
    )
    NO_ACCESS = Look(
        403,
        "no_access",
        "No access",
        "lock",
        "You may not open this sandbox",
        "Guests of a workspace see its sandboxes and do not open them. Nothing was changed. An owner of the workspace "
        "can give you the role developer.",
    )
    NOT_FOUND = Look(
        404,
        "not_found",
        "Not found",
        "search",
        "There is no such sandbox",
        "It was deleted, or the address is mistyped, or it belongs to a workspace that you are not a member of.",
    )
    SIGNED_OUT = Look(
        401,
        "signed_out",
        "Signed out",
        "lock",
        "You are signed out",
        "Your session has ended. What runs in the sandbox goes on, nothing there is lost.",
        action="Sign in",
    )
    BAD_TICKET = Look(
        403,
        "bad_ticket",
        "Expired",
        "lock",
        "This link has expired",
        "A link that opens a sandbox works once, within a minute, in the browser that asked for it. Nothing is lost.",
        action="Open the sandbox",
    )
    FOREIGN = Look(
        403,
        "foreign_origin",
        "Refused",
        "lock",
        "Another site asked for this",
        "A page of another site tried to use this sandbox in your name. It was refused, nothing was changed. If you "
        "wanted to come here, open the sandbox from its list.",
    )
    UPSTREAM_BROKE = Look(
        502,
        "upstream_failed",
        "No answer",
        "stop",
        "{name} did not answer",
        "The sandbox runs, but opencode in it did not answer or broke off. What you sent last may not have arrived; "
        "what was saved before is kept.",
        action="Try again",
        retry_after=SOON,
        logs=True,
    )
    LOCAL_BROKE = Look(
        502,
        "upstream_failed",
        "No answer",
        "stop",
        "{name} did not answer",
        "The machine is connected, but opencode on it did not answer or broke off. If the agent there started it, it "
        "starts it again within seconds. What you sent last may not have arrived; what was saved before is kept.",
        action="Try again",
        retry_after=SOON,
    )
    NOT_LISTENING = Look(
        502,
        "port_not_listening",
        "No answer",
        "search",
        "Nothing answers on port {port}",
        "The sandbox runs, but no program in it takes connections on this port. Start your web server there, on this "
        "port, and try again.",
        action="Try again",
        retry_after=SOON,
    )
    LOCAL_PORT = Look(
        404,
        "local_port",
        "Not reachable",
        "search",
        "Port {port} of this machine is not reachable here",
        "{name} runs on a connected machine, and only its opencode is reached from outside, no other port. Nothing "
        "there was changed. Use the port on the machine itself, or start the web server in a sandbox of this server.",
    )
    TUNNEL_BUSY = Look(
        503,
        "tunnel_busy",
        "Busy",
        "wait",
        "{name} is busy",
        "Too many requests are under way to this machine at once. This one was not sent, nothing is lost. Close tabs "
        "that are not needed, or try again in a moment.",
        action="Try again",
        retry_after=SOON,
    )
    TOO_LARGE_FOR_AGENT = Look(
        413,
        "too_large_for_agent",
        "Too large",
        "stop",
        "This request is too large for {name}",
        "The agent on that machine is of an older version, which takes requests of up to 32 KiB with everything in "
        "them. This one was not sent; what was saved before is kept. Update the agent there, then any size will do.",
    )
    NO_UPGRADE = Look(
        501,
        "no_upgrade",
        "Not possible",
        "stop",
        "{name} carries no terminals yet",
        "The agent on that machine is of an older version, which carries pages but no terminals (WebSockets). Nothing "
        "is lost. Update the agent there, and they work.",
    )
    TOO_MANY = Look(
        429,
        "too_many_requests",
        "Too many requests",
        "stop",
        "Too many requests",
        "More came from you than this server takes at once. This request was not carried out. Wait a moment.",
        action="Try again",
        retry_after=LATER,
    )
    MISDIRECTED = Look(
        421,
        "misdirected",
        "Wrong address",
        "search",
        "This server does not answer for this address",
        "Its main page is {main}. Whoever runs it decides with BASE_DOMAIN which addresses it answers for.",
    )
    UNAVAILABLE = Look(
        503, "unavailable", "Not available", "wait",
        "The server cannot tell who you are just now",
        "Its database does not answer. Sandboxes that run go on, nothing is lost. This page looks again by itself.",
        refresh=LATER,
    )  # fmt: skip
