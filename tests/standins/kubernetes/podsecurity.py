"""The Pod Security Standards as a pure function: ``violations(pod_spec, "restricted")``.

Written from the standard's text: the controls of ``baseline``, and of ``restricted`` on top of them. Each violation is
one line, with the field. A container's security context goes before the pod's. What it does NOT know: pods of Windows,
``hostUsers: false`` which relaxes some controls, and the versions of the standard (it is the newest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
LEVELS: Final = ("privileged", "baseline", "restricted")

_BASELINE_CAPABILITIES: Final = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"),
    *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
_SYSCTLS: Final = {
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
    *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
    *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}
_SELINUX: Final = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_VOLUMES: Final = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def violations(spec: Json, level: str = "restricted") -> list[str]:
    """What of a pod's spec is against a level; empty if nothing is."""
    if level == "privileged":
        return []
    found = [*_baseline_pod(spec), *_both(spec, _baseline_context)]
    for where, container in containers(spec):
        found += _baseline_container(where, container)
    if level == "restricted":
        found += _restricted_pod(spec)
        for where, container in containers(spec):
            found += _restricted_container(where, container, spec.get("securityContext") or {})
    return found


def containers(spec: Json) -> Iterator[tuple[str, Json]]:
    """All containers of a pod, with where they stand."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for at, container in enumerate(spec.get(kind) or ()):
            yield f"{kind}[{at}]", container


def _both(spec: Json, check: Any) -> list[str]:
    """A check of the pod's security context and of each container's."""
    found = list(check("securityContext", spec.get("securityContext") or {}))
    for where, container in containers(spec):
        found += check(f"{where}.securityContext", container.get("securityContext") or {})
    return found


def _baseline_pod(spec: Json) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"host namespaces: {name} must not be true"
    for at, volume in enumerate(spec.get("volumes") or ()):
        if "hostPath" in volume:
            yield f"hostPath volumes: volumes[{at}]"
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or ():
        if sysctl["name"] not in _SYSCTLS:
            yield f"forbidden sysctls: {sysctl['name']}"


def _baseline_container(where: str, container: Json) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield f"privileged: {where}.securityContext.privileged must not be true"
    added = set((context.get("capabilities") or {}).get("add") or ())
    if more := added - _BASELINE_CAPABILITIES:
        yield f"non-default capabilities: {where} must not add {', '.join(sorted(more))}"
    if context.get("procMount", "Default") != "Default":
        yield f"procMount: {where}.securityContext.procMount must be Default"
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield f"hostPort: {where} uses hostPort {port['hostPort']}"
    handlers = [(container.get(name) or {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [hook or {} for hook in (container.get("lifecycle") or {}).values()]
    for handler in handlers:
        if any((handler.get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"probe or lifecycle host: {where} must not set host"


def _baseline_context(where: str, context: Json) -> Iterator[str]:
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield f"seccompProfile: {where}.seccompProfile.type must not be Unconfined"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"appArmorProfile: {where}.appArmorProfile.type must not be Unconfined"
    options = context.get("seLinuxOptions") or {}
    if options.get("type", "") not in _SELINUX or options.get("user") or options.get("role"):
        yield f"seLinuxOptions: {where}.seLinuxOptions has a forbidden type, user or role"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"hostProcess: {where}.windowsOptions.hostProcess must not be true"


def _restricted_pod(spec: Json) -> Iterator[str]:
    for at, volume in enumerate(spec.get("volumes") or ()):
        if other := volume.keys() - _VOLUMES - {"name"}:
            yield f"restricted volume types: volumes[{at}] is {', '.join(sorted(other))}"
    if (spec.get("securityContext") or {}).get("runAsUser") == 0:
        yield "runAsUser=0: securityContext.runAsUser must not be 0"


def _restricted_container(where: str, container: Json, pod: Json) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"allowPrivilegeEscalation != false: {where}.securityContext.allowPrivilegeEscalation must be false"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f'unrestricted capabilities: {where}.securityContext.capabilities.drop must have "ALL"'
    if more := set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"unrestricted capabilities: {where} must not add {', '.join(sorted(more))}"
    own = context.get("runAsNonRoot")
    if own is False or (own is None and pod.get("runAsNonRoot") is not True):
        yield f"runAsNonRoot != true: pod or {where} must set securityContext.runAsNonRoot=true"
    if context.get("runAsUser") == 0:
        yield f"runAsUser=0: {where}.securityContext.runAsUser must not be 0"
    seccomp = (context.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        yield f'seccompProfile: pod or {where} must set seccompProfile.type to "RuntimeDefault" or "Localhost"'
