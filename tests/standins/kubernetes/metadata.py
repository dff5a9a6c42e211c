"""The rules for names, labels and what of an object may not change. Pure functions that list causes of a refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.structure import Cause

Json = dict[str, Any]
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ANNOTATIONS_SIZE: Final = 256 << 10
_LABEL_NAMES: Final = {"namespaces", "services"}  # the others' names are subdomains
_PATH_NAMES: Final = {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}
OWNED_BY_THE_SERVER: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "selfLink")


def dns_label(text: str) -> str | None:
    """Why a text is no DNS-1123 label."""
    if len(text) <= 63 and _LABEL.fullmatch(text):
        return None
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character, and be no more than 63 characters"
    )


def name_fault(plural: str, name: str) -> str | None:
    """Why an object of a kind cannot be called so."""
    if plural in _PATH_NAMES:
        return "may not contain '/' or '%'" if re.search(r"[/%]|^\.\.?$", name) else None
    if plural == "services":
        fits = len(name) <= 63 and _SERVICE.fullmatch(name)
        return None if fits else "a DNS-1035 label must start with an alphabetic character"
    if plural in _LABEL_NAMES:
        return dns_label(name)
    if len(name) <= 253 and _SUBDOMAIN.fullmatch(name):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character"
    )


def label_key(key: str) -> str | None:
    """Why a text cannot be the key of a label."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return "prefix part must be a DNS-1123 subdomain"
    return (
        None if len(name) <= 63 and _QUALIFIED.fullmatch(name) else "name part must consist of alphanumeric characters"
    )


def label_value(value: str) -> str | None:
    """Why a text cannot be the value of a label."""
    if value == "" or (len(value) <= 63 and _QUALIFIED.fullmatch(value)):
        return None
    return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', at most 63"


def labels(found: Json, where: str) -> list[Cause]:
    """What is wrong with labels."""
    causes: list[Cause] = []
    for key, value in found.items():
        for fault in (label_key(key), label_value(value)):
            if fault is not None:
                causes.append(("FieldValueInvalid", where, f"Invalid value: {key}={value}: {fault}"))
    return causes


def check(kind: Kind, metadata: Json) -> list[Cause]:
    """What is wrong with an object's metadata."""
    causes: list[Cause] = []
    name = metadata.get("name") or f"{metadata.get('generateName', '')}xxxxx"
    if not metadata.get("name") and not metadata.get("generateName"):
        causes.append(("FieldValueRequired", "metadata.name", "Required value: name or generateName is required"))
    elif (fault := name_fault(kind.plural, name)) is not None:
        causes.append(("FieldValueInvalid", "metadata.name", f'Invalid value: "{name}": {fault}'))
    causes += labels(metadata.get("labels") or {}, "metadata.labels")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if (fault := label_key(key.lower())) is not None:
            causes.append(("FieldValueInvalid", "metadata.annotations", f'Invalid value: "{key}": {fault}'))
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_SIZE:
        text = f"Too long: may not be more than {_ANNOTATIONS_SIZE} bytes"
        causes.append(("FieldValueTooLong", "metadata.annotations", text))
    for finalizer in metadata.get("finalizers") or ():
        if label_key(finalizer) is not None or (
            "/" not in finalizer and finalizer not in ("orphan", "foregroundDeletion")
        ):
            causes.append(
                ("FieldValueInvalid", "metadata.finalizers", f'Invalid value: "{finalizer}": name is not qualified')
            )
    causes += _owners(metadata.get("ownerReferences") or ())
    return causes


def _owners(owners: Any) -> list[Cause]:
    causes: list[Cause] = []
    for at, owner in enumerate(owners):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                causes.append(("FieldValueRequired", f"metadata.ownerReferences[{at}].{name}", "Required value"))
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        text = "Only one reference can have Controller set to true"
        causes.append(("FieldValueInvalid", "metadata.ownerReferences", text))
    return causes


def unchangeable(kind: Kind, old: Json, new: Json) -> list[Cause]:
    """What an update changes although it may not, beyond the rules of the schema."""
    causes: list[Cause] = []

    def fixed(where: str, *, text: str = "field is immutable") -> None:
        if _at(old, where) != _at(new, where):
            causes.append(("FieldValueInvalid", where, f"Invalid value: {_at(new, where)!r}: {text}"))

    if kind.plural == "secrets":
        fixed("type")
        if old.get("immutable"):
            fixed("data", text="field is immutable when `immutable` is set")
            fixed("immutable", text="field is immutable when `immutable` is set")
    if kind.plural in ("rolebindings", "clusterrolebindings"):
        fixed("roleRef", text="cannot change roleRef")
    if kind.plural == "services":
        fixed("spec.clusterIP", text="may not change once set")
    if kind.plural == "storageclasses":
        for where in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
            fixed(where)
    if kind.plural == "runtimeclasses":
        fixed("handler")
    if kind.plural == "persistentvolumeclaims" and _but_size(old) != _but_size(new):
        text = "Forbidden: spec is immutable after creation except resources.requests for bound claims"
        causes.append(("FieldValueForbidden", "spec", text))
    if kind.plural == "pods" and _pod(old) != _pod(new):
        text = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        causes.append(("FieldValueForbidden", "spec", text))
    return causes


def _at(obj: Json, where: str) -> Any:
    found: Any = obj
    for name in where.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _but_size(claim: Json) -> Json:
    """What of a claim is fixed; the name of its volume is written once."""
    return {name: value for name, value in claim["spec"].items() if name not in ("resources", "volumeName")}


def _pod(pod: Json) -> Json:
    spec = {name: value for name, value in pod["spec"].items() if name not in ("activeDeadlineSeconds", "tolerations")}
    for name in ("containers", "initContainers"):
        spec[name] = [{**one, "image": ""} for one in spec.get(name, ())]
    return spec
