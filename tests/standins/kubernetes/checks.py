"""What Kubernetes asks of its own kinds beyond their schemas, for the kinds and fields that this project uses.

Pure functions: each lists causes of a refusal. What is NOT here is not refused, such as most of a pod's scheduling.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import metadata, quantities
from tests.standins.kubernetes.podsecurity import containers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.structure import Cause

Json = dict[str, Any]
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_SECRET_SIZE: Final = 1 << 20  # bytes of all values
_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_RESOURCES: Final = {"cpu", "memory", "ephemeral-storage"}


def _required(where: str) -> Cause:
    return "FieldValueRequired", where, "Required value"


def _wrong(where: str, value: object, why: str) -> Cause:
    return "FieldValueInvalid", where, f"Invalid value: {value!r}: {why}"


def check(kind: Kind, obj: Json) -> list[Cause]:
    """What is wrong with an object."""
    found = {
        "pods": _pod, "persistentvolumeclaims": _claim, "networkpolicies": _policy, "secrets": _secret,
        "services": _service, "roles": _role, "clusterroles": _role, "rolebindings": _binding,
        "clusterrolebindings": _binding, "resourcequotas": _quota,
    }.get(kind.plural)  # fmt: skip
    return list(found(obj)) if found else []


def _pod(pod: Json) -> Iterator[Cause]:
    spec = pod["spec"]
    yield from pod_spec(spec)


def pod_spec(spec: Json) -> Iterator[Cause]:
    """What is wrong with the spec of a pod."""
    if not spec.get("containers"):
        yield _required("spec.containers")
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        yield "FieldValueNotSupported", "spec.restartPolicy", f'Unsupported value: "{spec["restartPolicy"]}"'
    grace = spec.get("terminationGracePeriodSeconds", 0)
    if grace < 0:
        yield _wrong("spec.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")
    volumes = list(_volumes(spec.get("volumes") or []))
    yield from (one for one in volumes if isinstance(one, tuple))
    names: set[str] = set()
    for where, container in containers(spec):
        where = f"spec.{where}"
        if container["name"] in names:
            yield "FieldValueDuplicate", f"{where}.name", f'Duplicate value: "{container["name"]}"'
        names.add(container["name"])
        yield from _container(where, container, {one for one in volumes if isinstance(one, str)})
    for at, one in enumerate(spec.get("tolerations") or ()):
        if one.get("operator") == "Exists" and one.get("value"):
            yield _wrong(f"spec.tolerations[{at}].operator", one, "value must be empty when `operator` is 'Exists'")
    yield from metadata.labels(spec.get("nodeSelector") or {}, "spec.nodeSelector")


def _volumes(volumes: list[Json]) -> Iterator[Cause | str]:
    """Causes, and names of volumes."""
    seen: set[str] = set()
    for at, volume in enumerate(volumes):
        where = f"spec.volumes[{at}]"
        if (fault := metadata.dns_label(volume["name"])) is not None:
            yield _wrong(f"{where}.name", volume["name"], fault)
        if volume["name"] in seen:
            yield "FieldValueDuplicate", f"{where}.name", f'Duplicate value: "{volume["name"]}"'
        seen.add(volume["name"])
        if len(volume.keys() - {"name"}) != 1:
            yield "FieldValueRequired", where, "must specify exactly one volume type"
        yield volume["name"]


def _container(where: str, container: Json, volumes: set[str]) -> Iterator[Cause]:
    if (fault := metadata.dns_label(container["name"])) is not None:
        yield _wrong(f"{where}.name", container["name"], fault)
    if not container.get("image"):
        yield _required(f"{where}.image")
    paths: set[str] = set()
    for at, mount in enumerate(container.get("volumeMounts") or ()):
        if mount["name"] not in volumes:
            yield "FieldValueNotFound", f"{where}.volumeMounts[{at}].name", f'Not found: "{mount["name"]}"'
        if mount["mountPath"] in paths:
            yield _wrong(f"{where}.volumeMounts[{at}].mountPath", mount["mountPath"], "must be unique")
        paths.add(mount["mountPath"])
    for at, variable in enumerate(container.get("env") or ()):
        if "=" in variable["name"] or not variable["name"]:
            yield _wrong(
                f"{where}.env[{at}].name", variable["name"], "a valid environment variable name must not have '='"
            )
        if variable.get("value") and variable.get("valueFrom"):
            yield _wrong(f"{where}.env[{at}].valueFrom", "", "may not be specified when `value` is not empty")
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if name in container:
            yield from _probe(f"{where}.{name}", name, container[name])
    yield from _resources(f"{where}.resources", container.get("resources") or {})
    ports: set[str] = set()
    for at, port in enumerate(container.get("ports") or ()):
        if not 0 < port["containerPort"] < 65536:
            yield _wrong(f"{where}.ports[{at}].containerPort", port["containerPort"], "must be between 1 and 65535")
        name = port.get("name", "")
        if name and (len(name) > 15 or not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) or name in ports):
            yield _wrong(f"{where}.ports[{at}].name", name, "must be unique, and at most 15 characters")
        ports.add(name)
    context = container.get("securityContext") or {}
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        yield _wrong(
            f"{where}.securityContext", "", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        )


def _probe(where: str, name: str, probe: Json) -> Iterator[Cause]:
    if len(probe.keys() & set(_HANDLERS)) != 1:
        yield "FieldValueRequired", where, "must specify exactly one handler type"
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield _wrong(f"{where}.successThreshold", probe["successThreshold"], "must be 1")
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(field, 0) < 0:
            yield _wrong(f"{where}.{field}", probe[field], "must be greater than or equal to 0")


def _resources(where: str, resources: Json) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if name not in _RESOURCES and "/" not in name and not name.startswith("hugepages-"):
                yield _wrong(f"{where}.{kind}", name, "must be a standard resource for containers")
            if quantities.parse(amount) < 0:
                yield _wrong(f"{where}.{kind}[{name}]", amount, "must be greater than or equal to 0")
            if name == "cpu" and quantities.parse(amount) * 1000 % 1:
                yield _wrong(f"{where}.{kind}[{name}]", amount, "must be a multiple of 1m")
    for name in requests.keys() & limits.keys():
        if quantities.parse(requests[name]) > quantities.parse(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield _wrong(f"{where}.requests", requests[name], why)


def claim_spec(spec: Json, where: str = "spec") -> Iterator[Cause]:
    """What is wrong with the spec of a claim."""
    modes = spec.get("accessModes") or []
    if not modes:
        yield "FieldValueRequired", f"{where}.accessModes", "Required value: at least 1 access mode is required"
    for mode in modes:
        if mode not in _MODES:
            yield "FieldValueNotSupported", f"{where}.accessModes", f'Unsupported value: "{mode}"'
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield "FieldValueForbidden", f"{where}.accessModes", "may not use ReadWriteOncePod with other access modes"
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        yield _required(f"{where}.resources[storage]")
    elif quantities.parse(size) <= 0:
        yield _wrong(f"{where}.resources[storage]", size, "must be greater than zero")


def _claim(claim: Json) -> Iterator[Cause]:
    yield from claim_spec(claim["spec"])


def _policy(policy: Json) -> Iterator[Cause]:
    spec = policy.get("spec") or {}
    for kind in spec.get("policyTypes") or ():
        if kind not in ("Ingress", "Egress"):
            yield "FieldValueNotSupported", "spec.policyTypes", f'Unsupported value: "{kind}"'
    for way, side in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(way) or ()):
            where = f"spec.{way}[{at}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _policy_port(f"{where}.ports[{number}]", port)
            for number, peer in enumerate(rule.get(side) or ()):
                yield from _peer(f"{where}.{side}[{number}]", peer)


def _policy_port(where: str, port: Json) -> Iterator[Cause]:
    if port.get("protocol", "TCP") not in ("TCP", "UDP", "SCTP"):
        yield "FieldValueNotSupported", f"{where}.protocol", f'Unsupported value: "{port["protocol"]}"'
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, int) and not 0 < number < 65536:
        yield _wrong(f"{where}.port", number, "must be between 1 and 65535, inclusive")
    if end is not None and (not isinstance(number, int) or not number <= end < 65536):
        yield _wrong(f"{where}.endPort", end, "must be greater than or equal to `port`")


def _peer(where: str, peer: Json) -> Iterator[Cause]:
    if not peer:
        yield "FieldValueRequired", where, "must specify a peer"
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        yield "FieldValueForbidden", where, "may not specify both ipBlock and another peer"
    whole = _network(block["cidr"])
    if whole is None:
        yield _wrong(f"{where}.ipBlock.cidr", block["cidr"], "must be a valid CIDR address")
        return
    for at, one in enumerate(block.get("except") or ()):
        part = _network(one)
        inside = part is not None and part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]
        if part is None or not inside or part == whole:
            why = f"must be a strict subset of `cidr` {block['cidr']}"
            yield _wrong(f"{where}.ipBlock.except[{at}]", one, why)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text) if "/" in text else None
    except ValueError:
        return None


def _secret(secret: Json) -> Iterator[Cause]:
    data = secret.get("data") or {}
    for key in data:
        if len(key) > 253 or not _KEY.fullmatch(key):
            yield _wrong(
                f"data[{key}]", key, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            )
    if sum(len(value) * 3 // 4 for value in data.values()) > _SECRET_SIZE:
        yield "FieldValueTooLong", "data", f"Too long: may not be more than {_SECRET_SIZE} bytes"
    if secret.get("type") == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" not in data:
        yield _required("data[.dockerconfigjson]")


def _service(service: Json) -> Iterator[Cause]:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield _required("spec.ports")
    for at, port in enumerate(ports):
        if not 0 < port["port"] < 65536:
            yield _wrong(f"spec.ports[{at}].port", port["port"], "must be between 1 and 65535, inclusive")
        if len(ports) > 1 and not port.get("name"):
            yield _required(f"spec.ports[{at}].name")


def _role(role: Json) -> Iterator[Cause]:
    for at, rule in enumerate(role.get("rules") or ()):
        if not rule.get("verbs"):
            yield _required(f"rules[{at}].verbs")
        if rule.get("nonResourceURLs"):
            if role["kind"] == "Role":
                yield _wrong(f"rules[{at}].nonResourceURLs", "", "namespaced rules cannot apply to non-resource URLs")
        elif not rule.get("resources") or "apiGroups" not in rule:
            yield _required(f"rules[{at}].resources")


def _binding(binding: Json) -> Iterator[Cause]:
    ref = binding.get("roleRef") or {}
    if ref.get("apiGroup", "rbac.authorization.k8s.io") != "rbac.authorization.k8s.io":
        yield "FieldValueNotSupported", "roleRef.apiGroup", f'Unsupported value: "{ref["apiGroup"]}"'
    if ref.get("kind") not in ("ClusterRole", *(("Role",) if binding["kind"] == "RoleBinding" else ())):
        yield "FieldValueNotSupported", "roleRef.kind", f'Unsupported value: "{ref.get("kind")}"'
    for at, subject in enumerate(binding.get("subjects") or ()):
        if subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
            yield _required(f"subjects[{at}].namespace")
        if subject["kind"] not in ("ServiceAccount", "User", "Group"):
            yield "FieldValueNotSupported", f"subjects[{at}].kind", f'Unsupported value: "{subject["kind"]}"'


def _quota(quota: Json) -> Iterator[Cause]:
    for name, amount in ((quota.get("spec") or {}).get("hard") or {}).items():
        if quantities.parse(amount) < 0:
            yield _wrong(f"spec.hard[{name}]", amount, "must be greater than or equal to 0")
