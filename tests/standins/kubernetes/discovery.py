"""What is served, as clients look it up: ``/api``, ``/apis``, and the list of each group and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind

Json = dict[str, Any]
VERSION = {
    **{"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "linux/amd64", "goVersion": "none"},
    **{"buildDate": "2026-10-01T00:00:00Z", "compiler": "gc", "gitCommit": "0" * 40, "gitTreeState": "clean"},
}


def answer(kinds: list[Kind], parts: list[str]) -> Json | None:
    """The answer to a path of discovery; ``None`` if there is no such group or version."""
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = dict.fromkeys(kind.group for kind in kinds if kind.group)
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(kinds, one) for one in groups]}
        case ["api", "v1"]:
            return _resources("v1", [kind for kind in kinds if not kind.group])
        case ["apis", group] if any(kind.group == group for kind in kinds):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, group)}
        case ["apis", group, version]:
            found = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
            return _resources(f"{group}/{version}", found) if found else None
    return None


def _group(kinds: list[Kind], group: str) -> Json:
    """Versions in the order of preference: that of the table."""
    names = dict.fromkeys(kind.version for kind in kinds if kind.group == group)
    versions = [{"groupVersion": f"{group}/{name}", "version": name} for name in names]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(group_version: str, kinds: list[Kind]) -> Json:
    found = []
    for kind in kinds:
        found.append({
            "name": kind.plural, "singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": list(kind.verbs), "shortNames": list(kind.short),
        })  # fmt: skip
        for sub in kind.subresources:
            verbs = {"log": ["get"], "exec": ["create", "get"], "eviction": ["create"], "finalize": ["update"]}
            found.append({
                "name": f"{kind.plural}/{sub}", "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind,
                "verbs": verbs.get(sub, ["get", "patch", "update"]),
            })  # fmt: skip
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}
