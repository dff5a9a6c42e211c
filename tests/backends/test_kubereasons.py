"""Why a sandbox does not run, from what a cluster says: each of the ways, as a person reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.base import BackendError, BackendRejected, BackendUnavailable, SandboxGone
from backends.kubeanswers import Busy, Conflict, Expired, Forbidden, from_answer
from backends.kubereasons import hindrance, stopped
from backends.kubeview import pod_of, runs, serves, trimmed, wanted

Json = dict[str, Any]
RUN = {"cli-server.spec": "s", "cli-server.run": "r1"}


def sandbox(*, on: bool = True, told: Json | None = None, generation: int = 2, **metadata: Any) -> Json:
    return {
        "kind": "Sandbox",
        "metadata": {"name": "oc-a", "namespace": "n", "uid": "s1", "generation": generation, **metadata},
        "spec": {
            "operatingMode": "Running" if on else "Suspended",
            "podTemplate": {"metadata": {"annotations": RUN}, "spec": {}},
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2, **(told or {})}]},
    }


def pod(phase: str = "Running", state: Json | None = None, *, run: str = "r1", **more: Any) -> Json:
    container = {"name": "opencode", "state": {"running": {}} if state is None else state}
    status = {"phase": phase, "containerStatuses": [container], "conditions": [{"type": "Ready", "status": "True"}]}
    about: Json = {"name": "oc-a", "uid": "p1", "annotations": {**RUN, "cli-server.run": run}}
    about["ownerReferences"] = [{"uid": "s1"}]
    limits = {"name": "opencode", "resources": {"limits": {"memory": "2Gi"}}}
    return {
        "kind": "Pod",
        "metadata": about | more.pop("metadata", {}),
        "spec": {"containers": [limits]},
        "status": {**status, **more},
    }


def over(code: int, reason: str = "Error", **more: Any) -> Json:
    return pod("Failed", {"terminated": {"exitCode": code, "reason": reason, **more}})


DELETED: Json = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("found", "of", "words"),
    [
        (sandbox(on=False), None, ""),
        (sandbox(**DELETED), pod(), "it is being removed from the cluster"),
        (sandbox(), None, "the sandbox's pod is gone"),
        (sandbox(), pod(metadata=DELETED), "its pod is being removed by somebody else"),
        (sandbox(), over(3), "opencode exited with status 3"),
        (sandbox(), over(0, "Completed"), "opencode exited with status 0"),
        (
            sandbox(),
            over(137),
            "opencode was ended from outside (status 137); its node may have been restarted",
        ),
        (
            sandbox(),
            over(137, "OOMKilled"),
            "opencode was ended because the sandbox needs more than its 2Gi of memory",
        ),
        (
            sandbox(),
            over(128, "StartError", message="exec: not found"),
            "opencode could not be started: exec: not found",
        ),
        (
            sandbox(),
            pod("Failed", {}, reason="Evicted", message="The node was low on resource: memory."),
            "the cluster evicted its pod: The node was low on resource: memory.",
        ),
        (sandbox(), pod("Failed", {}, reason="NodeLost"), "the cluster ended its pod (NodeLost)"),
        (sandbox(), pod("Failed", {}), "the cluster ended its pod (it does not say why)"),
        (
            sandbox(),
            pod(
                "Failed",
                {},
                conditions=[{"type": "DisruptionTarget", "status": "True", "message": "preempting for another"}],
            ),
            "the cluster ended its pod: preempting for another",
        ),
        (sandbox(), pod("Pending", {}), "its pod has not started yet"),
        (
            sandbox(told={"status": "False", "reason": "ReconcilerError", "message": "exceeded quota: small"}),
            None,
            "the workspace's namespace has a quota, and it is used up; pause other sandboxes or ask the operator for "
            "more (exceeded quota: small)",
        ),
    ],
)
def test_why_it_does_not_run(found: Json, of: Json | None, words: str) -> None:
    assert stopped(found, of) == words
    assert not runs(found, of)


def waiting(reason: str, message: str = "") -> Json:
    return pod("Pending", {"waiting": {"reason": reason, "message": message}})


def event(uid: str, reason: str, message: str, when: str = "2026-01-01T00:00:00Z") -> Json:
    return {"involvedObject": {"uid": uid}, "reason": reason, "message": message, "lastTimestamp": when, "metadata": {}}


CLAIM = {
    "metadata": {"name": "disk", "uid": "c1"},
    "spec": {"accessModes": ["ReadWriteMany"]},
    "status": {"phase": "Pending"},
}
FULL = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: 3 Insufficient cpu."}


@pytest.mark.parametrize(
    ("of", "claims", "events", "words", "final"),
    [
        (waiting("ErrImagePull", "rpc error: not found"), [], [], "its image cannot be fetched", True),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), [], [], "its image cannot be fetched", False),
        (waiting("InvalidImageName", "x"), [], [], "correct AGENT_IMAGE", True),
        (
            waiting("ImagePullBackOff", "Back-off pulling image"),
            [],
            [event("p1", "Failed", "Failed to pull image: unauthorized")],
            "unauthorized",
            True,
        ),
        (waiting("CreateContainerConfigError", "secret not found"), [], [], "cannot be made: secret", False),
        (pod("Pending", {}, conditions=[FULL]), [], [], "no node of the cluster takes it: 0/3 nodes", False),
        (
            pod("Pending", {}, conditions=[FULL]),
            [CLAIM],
            [event("c1", "ProvisioningFailed", "only supports ReadWriteOnce, not access mode ReadWriteMany")],
            "K8S_DISK_ACCESS_MODE",
            True,
        ),
        (None, [CLAIM], [event("c1", "FailedBinding", "no storage class is set")], "set K8S_STORAGE_CLASS", True),
        (None, [CLAIM], [event("c1", "ProvisioningFailed", "disk quota")], "disk cannot be made: disk quota", False),
        (
            waiting("ContainerCreating"),
            [],
            [event("p1", "FailedMount", "older"), event("p1", "FailedMount", "newer", "2026-01-02T00:00:00Z")],
            "its pod does not start: newer",
            False,
        ),
        (
            waiting("ContainerCreating"),
            [],
            [event("p1", "FailedCreatePodSandBox", 'no runtime for "runsc" is configured')],
            "AGENT_RUNTIME",
            False,
        ),
    ],
)
def test_what_a_start_waits_for(
    of: Json | None, claims: list[Json], events: list[Json], words: str, final: bool
) -> None:
    found = hindrance(sandbox(), of, claims, events)
    assert found is not None
    assert words in found.text
    assert found.final is final


def test_nothing_hinders() -> None:
    others = [event("somebody else", "FailedMount", "x"), event("p1", "Scheduled", "assigned")]
    assert hindrance(sandbox(), waiting("ContainerCreating"), [], others) is None
    bound = {**CLAIM, "status": {"phase": "Bound"}}
    assert hindrance(sandbox(), None, [bound], [event("c1", "ProvisioningFailed", "once")]) is None


def test_a_node_that_is_being_made_is_waited_for() -> None:
    full = pod("Pending", {}, conditions=[FULL])
    found = hindrance(sandbox(), full, [], [event("p1", "TriggeredScaleUp", "pod triggered scale-up")])
    assert found is not None
    assert found.scaling
    assert "is making a node" in found.text


@pytest.mark.parametrize(
    ("found", "of", "expected"),
    [
        (sandbox(), pod(), True),
        (sandbox(generation=3), pod(), False),
        (sandbox(told={"status": "False"}), pod(), False),
        (sandbox(), pod(run="r0"), False),
        (sandbox(), pod(metadata=DELETED), False),
        (sandbox(**DELETED), pod(), False),
        (sandbox(on=False), pod(), False),
        (sandbox(), pod(conditions=[{"type": "Ready", "status": "False"}]), False),
        (sandbox(), pod("Pending", {}), False),
        (sandbox(), None, False),
    ],
)
def test_what_may_be_sent_requests(found: Json, of: Json | None, expected: bool) -> None:
    """Lesson: the address of a pod that was still terminating."""
    assert serves(found, of) is expected
    if of is not None:
        assert serves(trimmed(found), trimmed(of)) is expected, "what is kept of them is enough to tell"


def test_either_version_says_whether_it_is_to_run() -> None:
    specs: tuple[Json, ...] = ({"replicas": 1}, {"replicas": 0}, {}, {"operatingMode": "Suspended"})
    assert [wanted({"spec": spec}) for spec in specs] == [True, False, True, False]


def test_a_pod_of_a_former_sandbox_of_that_name_is_none() -> None:
    stranger = pod(metadata={"ownerReferences": [{"uid": "s0"}]})
    ending = pod(metadata=DELETED)
    assert pod_of(sandbox(), [stranger]) is None
    assert pod_of(sandbox(), [ending, stranger, pod()]) == pod()
    assert pod_of(sandbox(), [ending]) == ending


def answer(message: str, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, **more}).encode()


TERMINATING = {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, answer('pods "a" not found'), SandboxGone, "not found"),
        (409, answer("already exists"), Conflict, "in the way: already exists"),
        (410, answer("too old resource version"), Expired, "too old"),
        (429, answer("too many"), Busy, "overloaded"),
        (503, b"<html>", Busy, "overloaded"),
        (500, answer("etcd"), BackendUnavailable, "failed (500): etcd"),
        (401, answer("Unauthorized"), Forbidden, "does not know this server"),
        (403, answer("pods is forbidden: User x cannot list"), Forbidden, "service account"),
        (403, answer("being terminated", **TERMINATING), Conflict, "still being removed"),
        (403, answer("exceeded quota: q"), BackendRejected, "a quota"),
        (403, answer('violates PodSecurity "restricted"'), BackendRejected, "pod security"),
        (403, answer('admission webhook "p" denied the request: no'), BackendRejected, "a rule of the cluster"),
        (403, answer('pod rejected: RuntimeClass "g" not found'), BackendRejected, "AGENT_RUNTIME"),
        (422, answer("spec.x: Invalid value"), BackendRejected, "refuses: spec.x"),
        (400, b"\xff" * 9, BackendRejected, "refuses"),
    ],
)
def test_an_answer_that_says_no(status: int, body: bytes, kind: type[BackendError], words: str) -> None:
    found = from_answer(status, body, {"retry-after": "7"})
    assert type(found) is kind or (kind is BackendUnavailable and isinstance(found, kind))
    assert words in str(found)
    assert len(str(from_answer(status, answer("x" * 100_000), {}))) < 1000
    if isinstance(found, Busy):
        assert found.seconds == 7
