"""Where schemas come from: ``kubernetes-validate`` for Kubernetes' own kinds, ``crds/`` for the Sandbox.

Of the rules in CEL the one that the definitions have is known, by its text: any other one stops the stand-in.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.standins.kubernetes.structure import Cause, Schemas

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind

CRDS: Final = Path(__file__).with_name("crds")
_CLAIMS: Final = "volumeClaimTemplates"
_RULE: Final = (
    "has(self.volumeClaimTemplates) == has(oldSelf.volumeClaimTemplates)"
    " && (!has(self.volumeClaimTemplates) || self.volumeClaimTemplates == oldSelf.volumeClaimTemplates)"
)


@cache
def builtin_schemas() -> Schemas:
    """All types of the newest Kubernetes that the package knows."""
    spec = find_spec("kubernetes_validate")
    assert spec is not None, "make setup installs kubernetes-validate"
    assert spec.origin is not None
    folder = Path(spec.origin).with_name("kubernetes-json-schema")
    newest = max(folder.glob("v*-local"), key=lambda path: [int(part) for part in path.name[1:-6].split(".")])
    return Schemas(json.loads((newest / "_definitions.json").read_bytes())["$defs"])


@cache
def builtin_schema(kind: Kind) -> dict[str, Any]:
    """The schema of one of Kubernetes' own kinds."""
    wanted = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    for definition in builtin_schemas().definitions.values():
        if wanted in definition.get("x-kubernetes-group-version-kind", ()):
            return dict(definition)
    raise LookupError(wanted)


@cache
def definition(release: str) -> dict[str, Any]:
    """The CustomResourceDefinition of a release of Agent Sandbox, such as ``v0.5.6``."""
    (path,) = (CRDS / release).glob("*.yaml")
    loaded: dict[str, Any] = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


@cache
def version_of(release: str, version: str) -> dict[str, Any]:
    """What the definition says of one version."""
    (found,) = (one for one in definition(release)["spec"]["versions"] if one["name"] == version)
    return dict(found)


def sandbox_schema(release: str, version: str) -> dict[str, Any]:
    """The schema of the Sandbox in a version. The metadata is that of all objects."""
    schema: dict[str, Any] = version_of(release, version)["schema"]["openAPIV3Schema"]
    metadata = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {**schema, "properties": {**schema["properties"], "metadata": metadata}}


def transition(schema: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """What ``x-kubernetes-validations`` say of a change. They stand in the spec only, and there is one."""
    causes = []
    for rule in schema["properties"]["spec"].get("x-kubernetes-validations", ()):
        assert " ".join(rule["rule"].split()) == _RULE, f"the stand-in does not know the rule {rule['rule']}"
        if old["spec"].get(_CLAIMS) != new["spec"].get(_CLAIMS):
            causes.append(("FieldValueInvalid", "spec", f'Invalid value: "object": {rule["message"]}'))
    return causes
