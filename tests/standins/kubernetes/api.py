"""What the API does with one request, once it is known who asks for what: create, get, list, update, patch, delete.

What it does NOT do: server-side apply, tables, protobuf, and managed fields.
"""

from __future__ import annotations

import copy
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import admission, answers, checks, metadata, patches, rbac, schemas, selectors
from tests.standins.kubernetes.kinds import SANDBOXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.rbac import User
    from tests.standins.kubernetes.structure import Cause
    from tests.standins.kubernetes.world import World

Json = dict[str, Any]
_GRACE: Final = 30  # seconds; what a pod gets that says nothing
_NAMESPACED_DELETE: Final = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class Call:
    """A request for objects. ``query`` has the last value of each name."""

    user: User
    verb: str
    kind: Kind
    namespace: str
    name: str
    sub: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = ""

    @property
    def dry(self) -> bool:
        """Whether nothing is to be stored."""
        return self.query.get("dryRun") == "All"


@dataclass
class Answer:
    """What is sent. ``warnings`` become headers."""

    code: int
    body: Json
    warnings: list[str] = field(default_factory=list)


@dataclass
class Api:
    """See the module's text."""

    world: World

    def handle(self, call: Call) -> Answer:
        """Do it. Raises :class:`~tests.standins.kubernetes.answers.Refused`."""
        if call.kind.plural == "selfsubjectaccessreviews":
            return self._review(call)
        if call.sub == "eviction":
            return self._delete_one(call, (call.body or {}).get("deleteOptions") or {})
        match call.verb:
            case "create":
                return self._create(call)
            case "get":
                return Answer(200, self._shown(call, self._stored(call)))
            case "list":
                return Answer(200, self._list(call))
            case "update":
                return self._update(call, self._body(call))
            case "patch":
                return self._patch(call)
            case "delete":
                return self._delete_one(call, call.body or {})
            case "deletecollection":
                return self._delete_all(call)
        raise answers.method_not_allowed()

    # Reading

    def _stored(self, call: Call) -> Json:
        return self.world.store.get(call.kind, call.namespace, call.name)

    def _shown(self, call: Call, obj: Json) -> Json:
        return self.world.shown(call.kind, obj)

    def selected(self, call: Call) -> Callable[[Json], bool]:
        """Whether an object is one that the call's selectors and path mean."""
        query = call.query
        holds = selectors.build(call.kind.plural, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        return lambda obj: call.namespace in ("", obj["metadata"].get("namespace", "")) and holds(obj)

    def _list(self, call: Call) -> Json:
        store, holds = self.world.store, self.selected(call)
        limit = int(call.query.get("limit") or 0)
        if token := call.query.get("continue"):
            if token not in store.continued:
                raise answers.expired("The provided continue parameter is too old to display a consistent list result.")
            revision, found = store.continued[token]
        else:
            revision, found = store.revision, [obj for obj in store.list(call.kind.key) if holds(obj)]
        about: Json = {"resourceVersion": str(revision)}
        if limit and len(found) > limit:
            token = secrets.token_urlsafe(12)
            store.continued[token] = (revision, found[limit:])
            about |= {"continue": token, "remainingItemCount": len(found) - limit}
            found = found[:limit]
        items = [self._shown(call, obj) for obj in found]
        if call.kind.group != SANDBOXES:
            items = [{name: obj[name] for name in obj if name not in ("apiVersion", "kind")} for obj in items]
        kind = f"{call.kind.kind}List"
        return {"apiVersion": call.kind.api_version, "kind": kind, "metadata": about, "items": items}

    # Writing

    def _body(self, call: Call) -> Json:
        """The object that came, which must be of the path's kind, namespace and name."""
        obj = call.body
        if not isinstance(obj, dict):
            raise answers.bad_request("the body of the request is not an object")
        named = (obj.get("apiVersion", call.kind.api_version), obj.get("kind", call.kind.kind))
        if named != (call.kind.api_version, call.kind.kind) or ("kind" not in obj and call.kind.group == SANDBOXES):
            text = f"{named[0]}, Kind={named[1]} is not the kind of this path, {call.kind.api_version}/{call.kind.kind}"
            raise answers.bad_request(f"the object provided is unrecognized: {text}")
        about = obj.get("metadata")
        if not isinstance(about, dict):
            about = {}
        about = {**about}
        if call.kind.namespaced and about.setdefault("namespace", call.namespace) != call.namespace:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise answers.bad_request(text)
        if not call.kind.namespaced:
            about.pop("namespace", None)
        if call.name and about.setdefault("name", call.name) != call.name:
            raise answers.bad_request("the name of the object does not match the name on the URL")
        return {**obj, "apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": about}

    def _checked(self, call: Call, obj: Json, warnings: list[str]) -> Json:
        """The object with defaults and without what nobody knows. Raises a refusal if it is wrong."""
        types, schema = self.world.schema(call.kind)
        made, found = types.take(schema, obj)
        builtin = schemas.builtin_schemas()
        about, of_metadata = builtin.take(
            {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}, obj["metadata"]
        )
        made["metadata"] = about
        if call.kind.group == SANDBOXES:
            found.unknown += [f"metadata.{name}" for name in of_metadata.unknown]
            found.mistyped += of_metadata.mistyped
        unknown = [f'unknown field "{name}"' for name in found.unknown]
        if unknown and call.query.get("fieldValidation") == "Strict":
            raise answers.bad_request(
                f'{call.kind.kind} in version "{call.kind.version}" cannot be handled as a '
                f"{call.kind.kind}: strict decoding error: {', '.join(unknown)}"
            )
        if call.query.get("fieldValidation") != "Ignore":
            warnings += unknown
            self.world.warnings += unknown
        if of_metadata.mistyped or (found.mistyped and call.kind.group != SANDBOXES):
            _, where, text = (of_metadata.mistyped or found.mistyped)[0]
            raise answers.bad_request(f"{call.kind.kind} cannot be handled: json: cannot unmarshal {where}: {text}")
        self._refuse(call, made, found.causes or [*metadata.check(call.kind, about), *checks.check(call.kind, made)])
        return made

    def _refuse(self, call: Call, obj: Json, causes: list[Cause]) -> None:
        if causes:
            raise answers.invalid(call.kind.kind, call.kind.group, obj["metadata"].get("name", ""), causes)

    def _create(self, call: Call) -> Answer:
        obj, warnings = self._body(call), list[str]()
        for name in metadata.OWNED_BY_THE_SERVER:
            if name == "resourceVersion" and obj["metadata"].get(name):
                raise answers.bad_request("resourceVersion should not be set on objects to be created")
            obj["metadata"].pop(name, None)
        if call.kind.has_status:
            obj.pop("status", None)
        if call.kind.plural == "secrets":
            obj = copy.deepcopy(obj)
            admission.string_data(obj)
        obj = self._checked(call, obj, warnings)
        if call.kind.group != SANDBOXES:
            admission.fill(self.world, call.kind, obj)
        obj = self.world.taken(call.kind, obj)
        admission.admit(self.world, call.user, call.kind, obj, new=True)
        if call.dry:
            return Answer(201, self._shown(call, obj), warnings)
        return Answer(201, self._shown(call, self.world.store.create(call.kind, obj)), warnings)

    def _update(self, call: Call, obj: Json) -> Answer:
        old, warnings = self._stored(call), list[str]()
        if call.kind.group == SANDBOXES and not obj["metadata"].get("resourceVersion"):
            cause = (
                "FieldValueInvalid",
                "metadata.resourceVersion",
                "Invalid value: 0: must be specified for an update",
            )
            self._refuse(call, obj, [cause])
        if call.kind.plural == "secrets":
            obj = copy.deepcopy(obj)
            admission.string_data(obj)
        obj = self._merged(call, self._shown(call, old), obj)
        obj = self._checked(call, obj, warnings)
        stored = self.world.taken(call.kind, obj)
        _, schema = self.world.schema(self.world.stored(call.kind.plural, call.kind.group))
        causes = metadata.unchangeable(call.kind, old, stored)
        if call.kind.group == SANDBOXES:
            causes = schemas.transition(schema, old, stored)
        self._refuse(call, stored, causes)
        if not call.sub:
            admission.admit(self.world, call.user, call.kind, stored, new=False)
        if call.dry:
            return Answer(200, self._shown(call, {**stored}), warnings)
        return Answer(200, self._shown(call, self.world.store.update(call.kind, stored)), warnings)

    def _merged(self, call: Call, old: Json, new: Json) -> Json:
        """What a write to the object, or to its status, may change."""
        if call.sub == "status":
            about = {**old["metadata"], "resourceVersion": new["metadata"].get("resourceVersion")}
            return {**old, "metadata": about, **({"status": new["status"]} if "status" in new else {})}
        if call.sub == "finalize":
            return {**old, "spec": new.get("spec") or {}}
        made = dict(new)
        if call.kind.has_status:
            made.pop("status", None)
            made |= {"status": old["status"]} if "status" in old else {}
        for name in ("spec",) if call.kind.plural in ("namespaces", "services", "pods") else ():
            made[name] = {**old.get(name, {}), **(new.get(name) or {})}
        return made

    def _patch(self, call: Call) -> Answer:
        shown = self._shown(call, self._stored(call))
        types, schema = self.world.schema(call.kind)
        match call.content_type:
            case "application/merge-patch+json":
                made = patches.merge(shown, call.body)
            case "application/json-patch+json":
                made = patches.json_patch(shown, call.body)
            case "application/strategic-merge-patch+json" if call.kind.group != SANDBOXES:
                made = patches.strategic(types, schema, shown, call.body)
            case other:
                text = f"the body of the request was in an unknown format - {other} is not accepted here"
                raise answers.Refused(415, "UnsupportedMediaType", text)
        given = call.body.get("metadata", {}).get("resourceVersion") if isinstance(call.body, dict) else None
        made["metadata"]["resourceVersion"] = given or shown["metadata"]["resourceVersion"]
        return self._update(call, self._body(Call(**{**call.__dict__, "body": made})))

    # Deleting

    def _delete_one(self, call: Call, options: Json) -> Answer:
        obj = self._stored(call)
        self._precondition(call, obj, options.get("preconditions") or {})
        if call.dry:
            return Answer(200, self._shown(call, obj))
        obj = self.delete(call.kind, obj, self._grace(call, options), self._policy(call, options))
        whole = self.world.store.find(call.kind.key, call.namespace, call.name) is not None
        if whole or call.kind.plural == "pods":
            return Answer(200, self._shown(call, obj))
        about = obj["metadata"]
        return Answer(200, answers.success(call.kind.plural, call.kind.group, about["name"], about["uid"]))

    def _precondition(self, call: Call, obj: Json, wanted: Json) -> None:
        for name, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            value = wanted.get(name)
            if value not in (None, obj["metadata"][name]):
                had = obj["metadata"][name]
                why = f"Precondition failed: {word} in precondition: {value}, {word} in object meta: {had}"
                raise answers.conflict(call.kind.plural, call.kind.group, call.name, why)

    def _grace(self, call: Call, options: Json) -> int | None:
        asked = call.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        return None if asked is None else int(asked)

    def _policy(self, call: Call, options: Json) -> str:
        policy = str(call.query.get("propagationPolicy") or options.get("propagationPolicy") or "Background")
        if policy not in _NAMESPACED_DELETE:
            raise answers.bad_request(f"invalid propagationPolicy: {policy}")
        return policy

    def delete(self, kind: Kind, obj: Json, grace: int | None = None, policy: str = "Background") -> Json:
        """Delete an object, or mark it so that those who hold it can finish. Also for controllers."""
        store, about = self.world.store, obj["metadata"]
        place = (about.get("namespace", ""), about["name"])
        if policy != "Background":
            name = "foregroundDeletion" if policy == "Foreground" else "orphan"
            if name not in about.get("finalizers", ()):
                obj = store.update(
                    kind, {**obj, "metadata": {**about, "finalizers": [*about.get("finalizers", ()), name]}}
                )
        seconds = 0
        if kind.plural == "pods":
            asked = obj["spec"].get("terminationGracePeriodSeconds", _GRACE) if grace is None else grace
            over = obj["status"].get("phase") in ("Failed", "Succeeded")
            seconds = 0 if over or not obj["spec"].get("nodeName") else asked
        held = obj["metadata"].get("finalizers") or (kind.plural == "namespaces" and obj["spec"].get("finalizers"))
        if not held and not seconds:
            return store.remove(kind, *place)
        marked = store.mark_deleted(kind, obj, seconds)
        if kind.plural == "namespaces" and marked["status"].get("phase") != "Terminating":
            marked = store.update(kind, {**marked, "status": {"phase": "Terminating"}})
        return marked

    def _delete_all(self, call: Call) -> Answer:
        holds, options = self.selected(call), call.body or {}
        found = [obj for obj in self.world.store.list(call.kind.key) if holds(obj)]
        for obj in [] if call.dry else found:
            self.delete(call.kind, obj, self._grace(call, options), self._policy(call, options))
        return Answer(200, self._list(call) | {"items": []} if not found else {
            "apiVersion": call.kind.api_version, "kind": f"{call.kind.kind}List",
            "metadata": {"resourceVersion": str(self.world.store.revision)}, "items": found,
        })  # fmt: skip

    def _review(self, call: Call) -> Answer:
        """Whether whoever asks may do something."""
        asked = (call.body or {}).get("spec", {}).get("resourceAttributes") or {}
        resource = "/".join(part for part in (asked.get("resource", ""), asked.get("subresource", "")) if part)
        deed = rbac.Deed(
            asked.get("verb", ""), asked.get("group", ""), resource, asked.get("namespace", ""), asked.get("name", "")
        )
        status = {"allowed": rbac.allowed(self.world.store, call.user, deed)}
        return Answer(201, {**call.body, "status": status})


def decode(body: bytes) -> Any:
    """A body of JSON, or a refusal."""
    try:
        return json.loads(body) if body else None
    except ValueError as error:
        raise answers.bad_request(f"error decoding: {error}") from error
