"""What runs in a cluster, by its news; where they say that something has ended, it is looked at before it is told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from backends.base import BackendError, Observed
from backends.containers import LABEL_SANDBOX, LABEL_WORKSPACE
from backends.kubereasons import by_itself, stopped
from backends.kubeview import pod_of, runs, wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from backends.kubeboxes import Boxes
    from backends.kubelogs import Logs

Manifest = dict[str, Any]

_REMEMBERED: Final = 4096  # reasons, of pods that have ended
_STRETCH: Final = 250  # Sandboxes that are looked at in one go, a millisecond: ten thousand keep everybody waiting
_AT_ONCE: Final = 8  # looks at single sandboxes, so that starts are not held up


class Sight:
    """Makes the inventory."""

    def __init__(self, boxes: Boxes, logs: Logs) -> None:
        self._boxes = boxes
        self._logs = logs
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._words: dict[str, str] = {}  # the last line of a pod that ended, by its uid
        self._looked_at: dict[str, tuple[str, str]] = {}  # versions of Sandbox and pod that were found so, by uid

    async def all(self) -> dict[str, Observed]:
        """See :meth:`backends.base.Backend.inventory`."""
        await self._boxes.require_news()
        pods: dict[str, list[Manifest]] = {}
        for pod in self._boxes.pods:
            for owner in pod["metadata"].get("ownerReferences") or []:
                pods.setdefault(str(owner.get("uid")), []).append(pod)
        found = {}
        doubtful = []
        for number, sandbox in enumerate(self._boxes.sandboxes):
            if number % _STRETCH == 0:
                await trio.lowlevel.checkpoint()
            if not self._boxes.whole(sandbox):
                continue
            pod_ = pod_of(sandbox, pods.get(sandbox["metadata"]["uid"], []))
            if wanted(sandbox) and not runs(sandbox, pod_):
                doubtful.append((sandbox, pod_))
            else:
                seen = self._observed(sandbox, pod_)
                found[seen.sandbox_id] = seen
        confirmed = await _each([partial(self._confirmed, *pair) for pair in doubtful], self._limiter)
        self._forget({sandbox["metadata"]["uid"] for sandbox, _ in doubtful})
        found.update({seen.sandbox_id: seen for seen in confirmed if seen is not None})
        return found

    async def _confirmed(self, sandbox: Manifest, pod: Manifest | None) -> Observed | None:
        """News are late at times: another replica may have started it. ``None`` if it is gone by now."""
        known = (_version(sandbox), "" if pod is None else _version(pod))
        uid = sandbox["metadata"]["uid"]
        if self._looked_at.get(uid) != known:
            found = await self._boxes.find(sandbox["metadata"]["labels"][LABEL_SANDBOX])
            if found is None:
                return None
            sandbox, pod = found, await self._boxes.pod(found)
            self._looked_at[uid] = (_version(sandbox), "" if pod is None else _version(pod))
        if runs(sandbox, pod) or not wanted(sandbox):
            return self._observed(sandbox, pod)
        detail = stopped(sandbox, pod)
        if pod is not None and detail:
            detail = await self.describe(sandbox, pod, 1)
        return self._observed(sandbox, pod, detail)

    def _observed(self, sandbox: Manifest, pod: Manifest | None, detail: str = "") -> Observed:
        labels = sandbox["metadata"]["labels"]
        return Observed(labels[LABEL_SANDBOX], labels[LABEL_WORKSPACE], running=runs(sandbox, pod), detail=detail)

    async def describe(self, sandbox: Manifest, pod: Manifest, lines: int) -> str:
        """ "opencode exited with status 1: its last lines"."""
        text = stopped(sandbox, pod)
        if not by_itself(pod):
            return text
        uid = pod["metadata"]["uid"]
        if lines > 1 or uid not in self._words:
            words = await self._logs.last_lines(sandbox, pod, max(lines, 1))
            if lines > 1:
                return f"{text}: {' | '.join(words)}" if words else text
            if len(self._words) >= _REMEMBERED:
                self._words.clear()
            self._words[uid] = words[-1] if words else ""
        return f"{text}: {self._words[uid]}" if self._words[uid] else text

    def _forget(self, doubtful: set[str]) -> None:
        self._looked_at = {uid: known for uid, known in self._looked_at.items() if uid in doubtful}


def _version(found: Manifest) -> str:
    return f"{found['metadata']['uid']} {found['metadata'].get('resourceVersion', '')}"


async def _each(
    questions: Iterable[Callable[[], Awaitable[Observed | None]]], limiter: trio.CapacityLimiter
) -> list[Observed | None]:
    """All answers, or the first error."""
    answers: list[Observed | None] = []
    errors: list[BackendError] = []

    async def ask(question: Callable[[], Awaitable[Observed | None]]) -> None:
        async with limiter:
            if not errors:
                try:
                    answers.append(await question())
                except BackendError as error:
                    errors.append(error)

    async with trio.open_nursery() as nursery:
        for question in questions:
            nursery.start_soon(ask, question)
    if errors:
        raise errors[0]
    return answers
