"""The restricted profile: a pod that keeps it, and one change of it for each control."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.kubernetes_api.support import pod, pod_spec, refused
from tests.standins.kubernetes.podsecurity import violations

if TYPE_CHECKING:
    from tests.kubernetes_api.support import Client

_CASES: list[tuple[str, Any, str, str]] = [
    ("hostNetwork", True, "baseline", "host namespaces: hostNetwork"),
    ("hostPID", True, "baseline", "host namespaces: hostPID"),
    ("hostIPC", True, "baseline", "host namespaces: hostIPC"),
    ("volumes", [{"name": "x", "hostPath": {"path": "/"}}], "baseline", "hostPath volumes"),
    ("volumes", [{"name": "x", "nfs": {"path": "/", "server": "x"}}], "restricted", "restricted volume types"),
    ("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "baseline", "forbidden sysctls"),
    ("securityContext.seccompProfile", {"type": "Unconfined"}, "baseline", "seccompProfile"),
    ("securityContext.seccompProfile", None, "restricted", "seccompProfile"),
    ("securityContext.appArmorProfile", {"type": "Unconfined"}, "baseline", "appArmorProfile"),
    ("securityContext.seLinuxOptions", {"type": "spc_t"}, "baseline", "seLinuxOptions"),
    ("securityContext.seLinuxOptions", {"user": "x"}, "baseline", "seLinuxOptions"),
    ("securityContext.windowsOptions", {"hostProcess": True}, "baseline", "hostProcess"),
    ("securityContext.runAsNonRoot", None, "restricted", "runAsNonRoot != true"),
    ("securityContext.runAsUser", 0, "restricted", "runAsUser=0"),
    ("containers.0.securityContext.privileged", True, "baseline", "privileged"),
    ("containers.0.securityContext.procMount", "Unmasked", "baseline", "procMount"),
    ("containers.0.securityContext.capabilities.add", ["SYS_ADMIN"], "baseline", "capabilities"),
    ("containers.0.securityContext.capabilities.add", ["CHOWN"], "restricted", "unrestricted capabilities"),
    ("containers.0.securityContext.capabilities.drop", ["CHOWN"], "restricted", "unrestricted capabilities"),
    ("containers.0.securityContext.allowPrivilegeEscalation", None, "restricted", "allowPrivilegeEscalation"),
    ("containers.0.securityContext.runAsNonRoot", False, "restricted", "runAsNonRoot != true"),
    ("containers.0.securityContext.runAsUser", 0, "restricted", "runAsUser=0"),
    ("containers.0.ports.0.hostPort", 80, "baseline", "hostPort"),
    ("containers.0.readinessProbe", {"httpGet": {"port": 1, "host": "10.0.0.1"}}, "baseline", "probe or lifecycle"),
    ("initContainers", [{"name": "x", "image": "y"}], "restricted", "initContainers[0]"),
    ("ephemeralContainers", [{"name": "x", "image": "y"}], "restricted", "ephemeralContainers[0]"),
]


def test_a_pod_that_keeps_it() -> None:
    assert violations(pod_spec()) == []


@pytest.mark.parametrize(("path", "value", "level", "text"), _CASES)
def test_each_control(path: str, value: object, level: str, text: str) -> None:
    spec = copy.deepcopy(pod_spec())
    *parts, last = path.split(".")
    place: Any = spec
    for part in parts:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[last] = value
    found = violations(spec, "restricted")
    assert any(text in one for one in found), found
    assert bool(violations(spec, "baseline")) is (level == "baseline")
    assert violations(spec, "privileged") == []


def test_a_namespace_enforces_it(client: Client) -> None:
    client.core.create_namespaced_pod(client.namespace, pod("free", securityContext={}))
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    client.core.patch_namespace(client.namespace, label)
    client.core.create_namespaced_pod(client.namespace, pod("kept"))
    with refused(403, "violates PodSecurity"):
        client.core.create_namespaced_pod(client.namespace, pod("broken", securityContext={}))
