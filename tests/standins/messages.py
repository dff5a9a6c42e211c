"""What the stand-in for the Messages API answers: pure functions from a request's JSON to the answer's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_RUN = re.compile(r"^\s*run: (.+?)\s*$", re.MULTILINE)
_TITLE = "Stand-in session"

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str) -> Json:
    """An error in Anthropic's shape."""
    kind = ERROR_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_standin"}


def text_of(content: object) -> str:
    """The text of a message's content, a string or a list of blocks; tool results too."""
    if isinstance(content, str):
        return content
    parts = []
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "text":
            parts.append(block["text"])
        elif block.get("type") == "tool_result":
            parts.append(text_of(block.get("content")))
    return "\n".join(parts)


def words_in(value: object) -> int:
    """How many words a part of the request has. This is what the stand-in calls tokens."""
    return len(json.dumps(value).split()) if value else 0


def is_cached(system: object) -> bool:
    """Whether the request asks for its system prompt to be cached."""
    return isinstance(system, list) and any("cache_control" in block for block in system)


@dataclass
class Answer:
    """One block of content: words of a text, or a call of a tool."""

    message_id: str
    model: str
    usage: Json
    words: list[str] = field(default_factory=list)
    tool: Json | None = None

    @property
    def stop_reason(self) -> str:
        """Why the model stopped."""
        return "end_turn" if self.tool is None else "tool_use"

    def message(self) -> Json:
        """The answer to a request that does not stream."""
        block = (
            {"type": "text", "text": "".join(self.words)} if self.tool is None else {"type": "tool_use", **self.tool}
        )
        return {**self._shell(self.usage), "content": [block], "stop_reason": self.stop_reason}

    def _shell(self, usage: Json) -> Json:
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def events(self) -> Iterator[Json]:
        """The answer to a request that streams."""
        yield {"type": "message_start", "message": self._shell({**self.usage, "output_tokens": 1})}
        yield {"type": "ping"}
        if self.tool is None:
            yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
            for word in self.words:
                yield _delta({"type": "text_delta", "text": word})
        else:
            block = {"type": "tool_use", "id": self.tool["id"], "name": self.tool["name"], "input": {}}
            yield {"type": "content_block_start", "index": 0, "content_block": block}
            written = json.dumps(self.tool["input"])
            for start in range(0, len(written), 16):
                yield _delta({"type": "input_json_delta", "partial_json": written[start : start + 16]})
        yield {"type": "content_block_stop", "index": 0}
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": self.usage["output_tokens"]},
        }
        yield {"type": "message_stop"}


def _delta(delta: Json) -> Json:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def event_bytes(event: Json) -> bytes:
    """One server-sent event, as Anthropic writes it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def malformed(request: object) -> str | None:
    """What is wrong with the body of a Messages request, if anything."""
    if not isinstance(request, dict):
        return "the body is not a JSON object"
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(request.get(name), kind) or not request[name]:
            return f"{name}: field required"
    return None


def answer(request: Json, reply: str, seen_systems: set[str], number: int) -> Answer:
    """The answer to a well-formed request.

    A title is given where a title is asked for; a command is run where the prompt has a line ``run: <command>`` and
    there is a tool ``bash``; its result is repeated; everything else is answered with ``reply``.
    """
    last = request["messages"][-1]
    usage = _usage(request, seen_systems)
    answer = Answer(f"msg_standin{number}", request["model"], usage)
    wanted = _RUN.search(text_of(last["content"]))
    results = isinstance(last["content"], list) and [b for b in last["content"] if b.get("type") == "tool_result"]
    if results:
        reply = f"The command said: {text_of(results)}"
    elif "title" in json.dumps(request.get("system", "")).lower() and not request.get("tools"):
        reply = _TITLE
    elif wanted is not None and any(tool.get("name") == "bash" for tool in request.get("tools") or []):
        command = {"command": wanted[1], "description": "Runs what the prompt asks for"}
        answer.tool = {"id": f"toolu_standin{number}", "name": "bash", "input": command}
    if answer.tool is None:
        answer.words = re.findall(r"\s*\S+\s*$|\s*\S+", reply)
    usage["output_tokens"] = max(1, len(answer.words) or words_in(answer.tool))
    return answer


def _usage(request: Json, seen_systems: set[str]) -> Json:
    """Words of the messages are input; those of a system prompt to be cached are written once and read afterwards."""
    system = request.get("system")
    usage = {"input_tokens": words_in(request["messages"]) + words_in(request.get("tools"))}
    known = json.dumps(system)
    cached = is_cached(system)
    usage["cache_creation_input_tokens"] = words_in(system) if cached and known not in seen_systems else 0
    usage["cache_read_input_tokens"] = words_in(system) if cached and known in seen_systems else 0
    if cached:
        seen_systems.add(known)
    else:
        usage["input_tokens"] += words_in(system)
    return usage
