"""Who may do what: RBAC over the roles and bindings in the store, with the check against escalation.

What it does NOT do: aggregated roles, and groups beyond those that every service account has.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.store import Store

Json = dict[str, Any]
GROUP: Final = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class User:
    """Whoever sent a request. ``free``: everything is allowed (``system:masters``)."""

    name: str
    groups: tuple[str, ...] = ()
    free: bool = False


ADMIN: Final = User("admin", ("system:masters", "system:authenticated"), free=True)


def service_account(namespace: str, name: str) -> User:
    """The user that a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


@dataclass(frozen=True)
class Deed:
    """What is asked for. ``resource`` has its subresource (``pods/exec``); ``namespace`` is "" for cluster-wide."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def refusal(self, user: User) -> answers.Refused:
        """As the API says it."""
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        why = f'User "{user.name}" cannot {self.verb} resource "{self.resource}" in API group "{self.group}" {where}'
        return answers.forbidden(self.resource, self.group, self.name, why)


def allowed(store: Store, user: User, deed: Deed) -> bool:
    """Whether a role that is bound to the user has a rule for the deed."""
    return user.free or any(_fits(rule, deed) for rule in _rules(store, user, deed.namespace))


def _rules(store: Store, user: User, namespace: str) -> Iterator[Json]:
    bindings = store.list((GROUP, "clusterrolebindings"))
    bindings += store.list((GROUP, "rolebindings"), namespace) if namespace else []
    for binding in bindings:
        if any(_is(subject, user, binding) for subject in binding.get("subjects") or ()):
            yield from rules_of(store, binding["roleRef"], namespace)


def rules_of(store: Store, ref: Json, namespace: str) -> list[Json]:
    """The rules of the role that is referred to; none if there is no such role."""
    clusterwide = ref["kind"] == "ClusterRole"
    key = (GROUP, "clusterroles" if clusterwide else "roles")
    role = store.find(key, "" if clusterwide else namespace, ref["name"])
    return (role.get("rules") or []) if role else []


def _is(subject: Json, user: User, binding: Json) -> bool:
    match subject["kind"]:
        case "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace")
            return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"
        case "Group":
            return subject["name"] in user.groups
    return bool(user.name == subject["name"])


def _fits(rule: Json, deed: Deed) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), deed.verb)
        and _has(rule.get("apiGroups"), deed.group)
        and (_has(rule.get("resources"), deed.resource) or _any_of(rule, deed.resource))
        and (not names or deed.name in names)
    )


def _any_of(rule: Json, resource: str) -> bool:
    """``*/exec`` is the subresource of everything."""
    _, slash, sub = resource.partition("/")
    return bool(slash) and f"*/{sub}" in (rule.get("resources") or ())


def _has(listed: Any, wanted: str) -> bool:
    return wanted in (listed or ()) or "*" in (listed or ())


def escalation(store: Store, user: User, kind: Kind, obj: Json) -> None:
    """Raise a refusal if the object would give rights that the user does not have."""
    if user.free or kind.group != GROUP:
        return
    namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")
    if kind.plural.endswith("bindings"):
        ref = obj["roleRef"]
        plural = "clusterroles" if ref["kind"] == "ClusterRole" else "roles"
        if allowed(store, user, Deed("bind", GROUP, plural, namespace, ref["name"])):
            return
        rules = rules_of(store, ref, namespace)
        if not rules:
            raise answers.not_found(plural, GROUP, ref["name"])
    else:
        if allowed(store, user, Deed("escalate", GROUP, kind.plural, namespace, name)):
            return
        rules = obj.get("rules") or []
    if extra := [deed for rule in rules for deed in _deeds(rule, namespace) if not allowed(store, user, deed)]:
        first = extra[0]
        told = f'{{APIGroups:["{first.group}"], Resources:["{first.resource}"], Verbs:["{first.verb}"]}}'
        why = f'user "{user.name}" is attempting to grant RBAC permissions not currently held:\n{told}'
        raise answers.forbidden(kind.plural, kind.group, name, why)


def _deeds(rule: Json, namespace: str) -> Iterator[Deed]:
    parts = (rule.get("verbs") or (), rule.get("apiGroups") or (), rule.get("resources") or ())
    for verb, group, resource in itertools.product(*parts):
        for name in rule.get("resourceNames") or ("",):
            yield Deed(verb, group, resource, namespace, name)
