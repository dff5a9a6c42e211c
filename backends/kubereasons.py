"""Why a sandbox does not run, for people: from what a cluster says of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backends.kubeanswers import explained, words
from backends.kubeview import condition, ready_condition, state, terminating, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_OUTSIDE: Final = (137, 143)  # 128 + SIGKILL or SIGTERM, as shells count
_GONE: Final = "the sandbox's pod is gone"
# An image that is not there does not come by waiting; a registry that is away may.
_NO_IMAGE: Final = (
    "not found",
    "notfound",
    "manifest unknown",
    "does not exist",
    "denied",
    "unauthorized",
    "authentication required",
    "forbidden",
    "invalid reference",
    "no match for platform",
)
_WRONG_NAME: Final = ("InvalidImageName", "ErrImageNeverPull")
_PULLS: Final = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", *_WRONG_NAME)
# Of an event: reasons that say what a pod that does not start waits for.
_TELLING: Final = (
    "FailedScheduling",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedMapVolume",
    "NodeNotReady",
)
_CLAIM_TROUBLE: Final = ("ProvisioningFailed", "FailedBinding")
_ACCESS: Final = ("readwritemany", "access mode", "accessmode", "multi_node", "volume capabilities")


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What a start waits for. ``final``: waiting does not help. ``scaling``: the cluster is making a node for it."""

    text: str
    final: bool
    scaling: bool = False


def stopped(sandbox: Mapping[str, Any], pod: Mapping[str, Any] | None) -> str:
    """Why a sandbox does not run, in one line; empty if it is not to run."""
    if terminating(sandbox):
        return "it is being removed from the cluster"
    if not wanted(sandbox):
        return ""
    if pod is None:
        told = ready_condition(sandbox)
        return _controller(told) if told.get("reason") == "ReconcilerError" else _GONE
    if terminating(pod):
        return "its pod is being removed by somebody else"
    status = pod.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded"):
        return end(pod)
    if (status.get("phase"), "terminated" in state(pod)) == ("Running", True):
        return end(pod)
    if hindrance := _pod(pod):
        return hindrance.text
    return "its pod has not started yet"


def end(pod: Mapping[str, Any]) -> str:
    """How a pod ended, without opencode's own words: "opencode exited with status 3"."""
    status = pod.get("status") or {}
    told = words(str(status.get("message") or ""))
    if status.get("reason") == "Evicted":
        return f"the cluster evicted its pod: {told or 'the node ran out of something'}"
    if (disruption := condition(pod, "DisruptionTarget")).get("status") == "True":
        return f"the cluster ended its pod: {words(str(disruption.get('message') or disruption.get('reason') or ''))}"
    terminated = state(pod).get("terminated")
    if terminated is None:
        why = ": ".join(text for text in (str(status.get("reason") or ""), told) if text)
        return f"the cluster ended its pod ({why or 'it does not say why'})"
    code = int(terminated.get("exitCode", 0))
    if terminated.get("reason") == "OOMKilled":
        return f"opencode was ended because the sandbox needs more than its {_memory(pod)} of memory"
    if terminated.get("reason") in ("StartError", "ContainerCannotRun"):
        return f"opencode could not be started: {words(str(terminated.get('message') or ''))}"
    if code in _OUTSIDE:
        return f"opencode was ended from outside (status {code}); its node may have been restarted"
    return f"opencode exited with status {code}"


def by_itself(pod: Mapping[str, Any]) -> bool:
    """Whether opencode ended by its own doing, so that its last words say why."""
    terminated = state(pod).get("terminated") or {}
    status = pod.get("status") or {}
    return (
        "exitCode" in terminated
        and int(terminated["exitCode"]) not in _OUTSIDE
        and terminated.get("reason") not in ("OOMKilled", "StartError", "ContainerCannotRun")
        and status.get("reason") != "Evicted"
    )


def hindrance(
    sandbox: Mapping[str, Any],
    pod: Mapping[str, Any] | None,
    claims: Sequence[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
) -> Hindrance | None:
    """What keeps a sandbox from starting, if anything is told. ``events``: the namespace's, in any order.

    Its controller's words first, then its disks', then its pod's.
    """
    told = sorted(events, key=_when)
    condition_ = ready_condition(sandbox)
    if pod is None and condition_.get("reason") == "ReconcilerError":
        text = str(condition_.get("message") or "")
        return Hindrance(_controller(condition_), final=explained(text) is not None)
    for claim in claims:
        if (claim.get("status") or {}).get("phase") != "Bound" and (found := _claim(claim, told)):
            return found
    if pod is None:
        return None
    found = _pod(pod, told) or _latest(pod, told)
    if found is not None and any(_about(event, pod) and event.get("reason") == "TriggeredScaleUp" for event in told):
        return Hindrance(f"the cluster is making a node for it ({found.text})", final=found.final, scaling=True)
    return found


def _controller(told: Mapping[str, Any]) -> str:
    text = words(str(told.get("message") or ""))
    known = explained(text)
    return str(known) if known is not None else f"the cluster's Agent Sandbox controller says: {text}"


def _claim(claim: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Hindrance | None:
    name = claim["metadata"]["name"]
    what = "the workspace's disk" if name == "disk" else "its home"
    for event in reversed(told):
        if _about(event, claim) and event.get("reason") in _CLAIM_TROUBLE:
            text = words(str(event.get("message") or ""))
            modes = ", ".join(claim["spec"].get("accessModes") or [])
            if any(word in text.lower() for word in _ACCESS):
                return Hindrance(no_access(modes, text), final=True)
            if event["reason"] == "FailedBinding" or ("storageclass" in text.lower() and "not found" in text.lower()):
                return Hindrance(f"no storage class makes {what}; set K8S_STORAGE_CLASS ({text})", final=True)
            return Hindrance(f"{what} cannot be made: {text}", final=False)
    return None


def no_access(modes: str, text: str) -> str:
    """A disk that several nodes can write is not to be had."""
    return (
        f"the cluster's storage does not make a workspace's disk with access mode {modes}; set K8S_STORAGE_CLASS to a "
        f"class that does, such as one of NFS or CephFS, or K8S_DISK_ACCESS_MODE to ReadWriteOnce ({text})"
    )


def _pod(pod: Mapping[str, Any], told: Sequence[Mapping[str, Any]] = ()) -> Hindrance | None:
    """By its own status. While the node waits before another pull, only what was ``told`` says why the last failed."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Hindrance(f"no node of the cluster takes it: {words(str(scheduled.get('message') or ''))}", final=False)
    waiting = state(pod).get("waiting") or {}
    reason, text = str(waiting.get("reason") or ""), words(str(waiting.get("message") or ""))
    if reason in _PULLS:
        failed = (event for event in reversed(told) if _about(event, pod) and event.get("reason") == "Failed")
        pulls = (words(str(event.get("message") or "")) for event in failed)
        text = next((each for each in pulls if "failed to pull" in each.lower()), text)
        final = reason in _WRONG_NAME or any(word in text.lower() for word in _NO_IMAGE)
        return Hindrance(f"its image cannot be fetched; correct AGENT_IMAGE or its registry ({text})", final=final)
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        return Hindrance(f"its container cannot be made: {text or reason}", final=False)
    return None


def _latest(pod: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Hindrance | None:
    for event in reversed(told):
        if _about(event, pod) and event.get("reason") in _TELLING:
            text = words(str(event.get("message") or ""))
            if "no runtime for" in text.lower():
                return Hindrance(f"the node has not the runtime that AGENT_RUNTIME asks for ({text})", final=False)
            return Hindrance(f"its pod does not start: {text}", final=False)
    return None


def _about(event: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return bool((event.get("involvedObject") or {}).get("uid") == found["metadata"]["uid"])


def _when(event: Mapping[str, Any]) -> str:
    """Times of a cluster are of one form, so that their texts are in order."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _memory(pod: Mapping[str, Any]) -> str:
    limits = next(
        ((box.get("resources") or {}).get("limits") or {} for box in (pod.get("spec") or {}).get("containers") or []),
        {},
    )
    return str(limits.get("memory", "share"))
