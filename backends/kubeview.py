"""What a Sandbox and a pod say of themselves. Pure: objects as the cluster has them, plain dicts."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from backends.manifests import CONTAINER, NOTE_RUN, NOTE_SPEC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv6Address

Manifest = dict[str, Any]


def wanted(sandbox: Mapping[str, Any]) -> bool:
    """Whether the Sandbox is to run, in either version's words. Left out, it is."""
    spec = sandbox["spec"]
    if "operatingMode" in spec:
        return bool(spec["operatingMode"] == "Running")
    return bool(spec.get("replicas", 1))


def terminating(found: Mapping[str, Any]) -> bool:
    """Whether it is being removed."""
    return found["metadata"].get("deletionTimestamp") is not None


def notes(found: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Of which way and of which start it is; a Sandbox's are those that its next pod will have."""
    about = found["spec"]["podTemplate"].get("metadata") or {} if found.get("kind") == "Sandbox" else found["metadata"]
    written = about.get("annotations") or {}
    return written.get(NOTE_SPEC), written.get(NOTE_RUN)


def settled(sandbox: Mapping[str, Any]) -> bool:
    """Whether the controller calls it ready, and has seen what it is to be now."""
    condition = ready_condition(sandbox)
    generation = sandbox["metadata"].get("generation")
    # A controller that says nothing about the generation is taken at its word: the pod is looked at, too.
    return condition.get("status") == "True" and condition.get("observedGeneration", generation) == generation


def ready_condition(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition ``Ready``; empty if it is not told."""
    return condition(found, "Ready")


def condition(found: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of the status; empty if it is not told."""
    conditions: Iterable[Mapping[str, Any]] = (found.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind), {})


def pod_of(sandbox: Mapping[str, Any], pods: Iterable[Manifest]) -> Manifest | None:
    """The Sandbox's newest pod: of this very Sandbox, and if there are several one that stays."""
    owner = sandbox["metadata"]["uid"]
    own = [
        pod for pod in pods if any(each.get("uid") == owner for each in pod["metadata"].get("ownerReferences") or [])
    ]
    return min(own, key=terminating, default=None)


def ended(pod: Mapping[str, Any]) -> bool:
    """Whether it has ended and will not run again."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def runs(sandbox: Mapping[str, Any], pod: Mapping[str, Any] | None) -> bool:
    """Whether there are processes of a Sandbox that is to run, healthy or not."""
    if pod is None or not wanted(sandbox) or terminating(sandbox) or terminating(pod):
        return False
    return (pod.get("status") or {}).get("phase") == "Running" and "running" in state(pod)


def serves(sandbox: Mapping[str, Any], pod: Mapping[str, Any] | None) -> bool:
    """Whether requests may be sent to it: a pod of the Sandbox's present start that is ready and stays."""
    return (
        pod is not None
        and runs(sandbox, pod)
        and settled(sandbox)
        and notes(pod)[1] == notes(sandbox)[1]
        and ready_condition(pod).get("status") == "True"
    )


def state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """That of opencode's container: ``waiting``, ``running`` or ``terminated``, each with what is told of it."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    found: Mapping[str, Any] = next((each.get("state") or {} for each in statuses if each.get("name") == CONTAINER), {})
    return found


def name_of(sandbox: Mapping[str, Any]) -> str | None:
    """The name by which its service is found."""
    found = (sandbox.get("status") or {}).get("serviceFQDN")
    return str(found) if found else None


def addresses(pod: Mapping[str, Any]) -> set[IPv4Address | IPv6Address]:
    """Its own."""
    status = pod.get("status") or {}
    texts = [each.get("ip") for each in status.get("podIPs") or []] or [status.get("podIP")]
    return {ip_address(text) for text in texts if text}


def trimmed(found: Manifest) -> Manifest:
    """What is kept of an object: what these functions look at, and not a pod's whole specification."""
    kept = {name: value for name, value in found.items() if name not in ("spec", "metadata")}
    kept["metadata"] = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    spec = found.get("spec") or {}
    if "podTemplate" in spec:
        template = {"metadata": spec["podTemplate"].get("metadata") or {}}
        kept["spec"] = {name: spec[name] for name in ("replicas", "operatingMode", "service") if name in spec}
        kept["spec"]["podTemplate"] = template
    else:
        boxes = [{"name": box.get("name"), "resources": box.get("resources")} for box in spec.get("containers") or []]
        kept["spec"] = {"containers": boxes}
    return kept
