"""Resource quotas: what is used in a namespace, and whether one more object fits."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import answers, quantities

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.store import Store

Json = dict[str, Any]
_SHORT: Final = {"pods", "persistentvolumeclaims", "secrets", "services", "configmaps", "resourcequotas"}
_OF_PODS: Final = ("cpu", "memory", "ephemeral-storage")


def weight(kind_key: tuple[str, str], obj: Json) -> dict[str, Fraction]:
    """What one object counts, by the names that quotas have."""
    group, plural = kind_key
    found: dict[str, Fraction] = defaultdict(Fraction)
    finished = plural == "pods" and obj.get("status", {}).get("phase") in ("Failed", "Succeeded")
    found[f"count/{answers.qualified(plural, group)}"] += 1
    if plural in _SHORT and not finished:
        found[plural] += 1
    if plural == "pods" and not finished:
        for container in obj["spec"]["containers"]:
            resources = container.get("resources") or {}
            limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
            for name in _OF_PODS:
                asked = quantities.parse(requests.get(name, limits.get(name, 0)))
                _add(found, f"limits.{name}", quantities.parse(limits.get(name, 0)))
                _add(found, f"requests.{name}", asked)
                _add(found, name, asked)
    if plural == "persistentvolumeclaims":
        _add(found, "requests.storage", quantities.parse(obj["spec"]["resources"]["requests"]["storage"]))
    return found


def _add(found: dict[str, Fraction], name: str, amount: Fraction) -> None:
    found[name] += amount


def used(store: Store, namespace: str) -> dict[str, Fraction]:
    """The sum over all objects of a namespace."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for key, objects in store.objects.items():
        for (inside, _), obj in objects.items():
            if inside == namespace:
                for name, amount in weight(key, obj).items():
                    total[name] += amount
    return total


def admit(store: Store, kind: Kind, obj: Json) -> None:
    """Raise a refusal if a new object does not fit into the quotas of its namespace."""
    name, namespace = obj["metadata"].get("name", ""), obj["metadata"]["namespace"]
    wanted = weight(kind.key, obj)
    for quota in store.list(("", "resourcequotas"), namespace):
        hard = {key: quantities.parse(value) for key, value in (quota["spec"].get("hard") or {}).items()}
        title = quota["metadata"]["name"]
        if kind.plural == "pods" and (unsaid := _unsaid(hard, obj)):
            raise answers.forbidden(kind.plural, kind.group, name, f"failed quota: {title}: must specify {unsaid}")
        total = used(store, namespace)
        over = [key for key in sorted(wanted) if key in hard and wanted[key] and total[key] + wanted[key] > hard[key]]
        if over:
            told = [",".join(f"{key}={plain(amounts[key])}" for key in over) for amounts in (wanted, total, hard)]
            why = f"exceeded quota: {title}, requested: {told[0]}, used: {told[1]}, limited: {told[2]}"
            raise answers.forbidden(kind.plural, kind.group, name, why)


def _unsaid(hard: dict[str, Fraction], pod: Json) -> str:
    """What a quota counts and a container does not say."""
    missing = []
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        for kind in ("limits", "requests"):
            for name in _OF_PODS:
                said = name in (resources.get(kind) or {}) or (
                    kind == "requests" and name in (resources.get("limits") or {})
                )
                if f"{kind}.{name}" in hard and not said:
                    missing.append(f"{kind}.{name} for: {container['name']}")
    return "; ".join(missing)


def plain(amount: Fraction | int) -> str:
    """A quantity without suffix, as exact as its thousandths."""
    number = Fraction(amount)
    return str(int(number)) if number.denominator == 1 else f"{int(number * 1000)}m"
