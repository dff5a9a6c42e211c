"""The Sandbox objects of an installation: finding, making, changing and removing them, with their secrets."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, Final

import trio

from backends import manifests
from backends.base import BackendRejected, BackendUnavailable, SandboxGone
from backends.containers import LABEL_SANDBOX, LABEL_WORKSPACE
from backends.kubeanswers import Conflict
from backends.kubecluster import CLAIMS, EVENTS, PODS, SECRETS, Resource
from backends.kubereasons import hindrance
from backends.kubeview import ended, notes, pod_of, terminating, wanted
from backends.kubewatch import Watch
from backends.logfile import Redactor, secrets_in
from backends.manifests import GROUP, NOTE_SPEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.base import SandboxSpec
    from backends.kubecluster import Cluster
    from backends.kubereasons import Hindrance
    from backends.manifests import KubernetesOptions, Names, Version

Manifest = dict[str, Any]

_VERSIONS: Final[tuple[Version, ...]] = ("v1beta1", "v1alpha1")  # the newer one first
_KNOWN_SECONDS: Final = 60.0  # for which the version that is served is believed; a cluster is upgraded now and then
_LOOK: Final = 0.25  # seconds between looks at what is ending
_END_SECONDS: Final = 40.0  # for a pod to go: its grace and what the node takes; the daemon's own deadline is a minute
_REMOVE_SECONDS: Final = 60.0
_TRIES: Final = 5  # of a change that somebody else's came before; the controller writes status by other means
_MOST_EVENTS: Final = "500"


class Boxes:
    """Everything of the installation's sandboxes that a cluster keeps."""

    def __init__(self, cluster: Cluster, options: KubernetesOptions, names: Names) -> None:
        self._cluster = cluster
        self._options = options
        self._names = names
        self._version: Version | None = None
        self._version_until = -float("inf")
        selector = names.selector()
        self.sandboxes = Watch(cluster, self._everywhere, selector, "sandboxes", names.at_home)
        self.pods = Watch(cluster, _all_pods, selector, "pods", names.at_home)
        self._homes: dict[str, str] = {}  # workspace by sandbox, which never changes

    async def version(self) -> Version:
        """Of Agent Sandbox's API, the newest that the cluster serves and we know."""
        if self._version is None or trio.current_time() > self._version_until:
            try:
                about = await self._cluster.look(f"/apis/{GROUP}")
            except SandboxGone as error:
                raise BackendRejected(
                    "the cluster has no Agent Sandbox (agents.x-k8s.io); install it: docs/kubernetes.md"
                ) from error
            served = {str(each.get("version")) for each in about.get("versions") or []}
            self._version = next((version for version in _VERSIONS if version in served), None)
            if self._version is None:
                raise BackendRejected(
                    f"the cluster's Agent Sandbox serves {', '.join(sorted(served)) or 'no version'}, and this server "
                    f"knows {' and '.join(_VERSIONS)}; install another release: docs/kubernetes.md"
                )
            self._version_until = trio.current_time() + _KNOWN_SECONDS
        return self._version

    async def _resource(self) -> Resource:
        return Resource("sandboxes", GROUP, await self.version())

    async def _everywhere(self) -> str:
        return (await self._resource()).path()

    async def _path(self, workspace_id: str, sandbox_id: str) -> str:
        resource = await self._resource()
        return resource.path(self._names.namespace(workspace_id), self._names.sandbox(sandbox_id))

    def remember(self, sandbox_id: str, workspace_id: str) -> None:
        """Whose a sandbox is."""
        self._homes[sandbox_id] = workspace_id

    async def workspace_of(self, sandbox_id: str) -> str | None:
        """Whose a sandbox is, or was; ``None`` if there is none."""
        if sandbox_id not in self._homes:
            selector = self._names.selector(sandbox=sandbox_id)
            listed = await self._cluster.look(await self._everywhere(), labelSelector=selector)
            for found in listed.get("items") or []:
                workspace_id = (found["metadata"].get("labels") or {}).get(LABEL_WORKSPACE, "")
                if self.whole(found):
                    self._homes[sandbox_id] = workspace_id
        return self._homes.get(sandbox_id)

    def whole(self, found: Manifest) -> bool:
        """Whether a Sandbox's labels, name and namespace belong together: labels alone are copied by people."""
        sandbox_id = (found["metadata"].get("labels") or {}).get(LABEL_SANDBOX, "")
        return bool(
            self._names.ours(found)
            and self._names.at_home(found)
            and found["metadata"].get("name") == self._names.sandbox(sandbox_id)
        )

    async def find(self, sandbox_id: str) -> Manifest | None:
        """The Sandbox as it is now, if it is ours."""
        workspace_id = await self.workspace_of(sandbox_id)
        return None if workspace_id is None else await self._find(workspace_id, sandbox_id)

    async def _find(self, workspace_id: str, sandbox_id: str) -> Manifest | None:
        found = await self._cluster.find(await self._path(workspace_id, sandbox_id))
        if found is None:
            self.sandboxes.forget(self._names.namespace(workspace_id), self._names.sandbox(sandbox_id))
            return None
        if not (self.whole(found) and self._names.ours(found, sandbox=sandbox_id)):
            return None
        self.sandboxes.note(found)
        return found

    async def require_news(self) -> None:
        """Raise :class:`BackendUnavailable` unless the cluster answers, and its news are no older than it is good."""
        await self._cluster.look(await self._everywhere(), limit="1")  # by its store, and not from memory
        await self.sandboxes.require()
        await self.pods.require()

    async def any_alive(self, workspace_id: str) -> bool:
        """Whether a sandbox of the workspace runs, or is about to."""
        namespace = self._names.namespace(workspace_id)
        listed = await self._cluster.look(
            (await self._resource()).path(namespace), labelSelector=self._names.selector()
        )
        for found in listed.get("items") or []:
            pod = await self.pod(found)
            if wanted(found) and pod is not None and not ended(pod):
                return True
        return False

    async def pods_of(self, sandbox: Manifest) -> list[Manifest]:
        """All pods of a Sandbox as they are now, ending ones too."""
        about = sandbox["metadata"]
        selector = self._names.selector(sandbox=about["labels"][LABEL_SANDBOX])
        listed = await self._cluster.look(PODS.path(about["namespace"]), labelSelector=selector)
        pods: list[Manifest] = listed.get("items") or []
        for pod in pods:
            self.pods.note(pod)
        if all(pod["metadata"]["name"] != about["name"] for pod in pods):  # the controller gives it the Sandbox's name
            self.pods.forget(about["namespace"], about["name"])
        return pods

    async def pod(self, sandbox: Manifest) -> Manifest | None:
        """The Sandbox's pod as it is now."""
        return pod_of(sandbox, await self.pods_of(sandbox))

    async def started(self, spec: SandboxSpec) -> str:
        """Have the Sandbox run as ``spec`` asks, anew if it runs another way; the start that its pod is of."""
        self.remember(spec.id, spec.workspace_id)
        found = await self._find(spec.workspace_id, spec.id)
        if found is None:
            return await self._make(spec)
        if terminating(found):
            raise BackendUnavailable("the sandbox's former self is still being removed from the cluster")
        body = self._body(spec, await self.version(), _new_run())
        pod = await self.pod(found)
        known_spec, run = notes(found)
        fits = known_spec == body["metadata"]["annotations"][NOTE_SPEC] and found["spec"].get("service") == body[
            "spec"
        ].get("service")
        if wanted(found) and fits and run and (pod is None or not (ended(pod) or terminating(pod))):
            return run
        await self.stop(spec.id)
        return await self._start_anew(spec, body)

    async def _make(self, spec: SandboxSpec) -> str:
        body = self._body(spec, await self.version(), _new_run())
        namespace = body["metadata"]["namespace"]
        await self._put_secret(spec)
        try:
            made = await self._cluster.create((await self._resource()).path(namespace), body)
        except Conflict as error:
            made = await self._cluster.look(await self._path(spec.workspace_id, spec.id))
            if notes(made) != notes(body):  # else the answer to our own request was lost
                if self.whole(made):
                    raise
                raise BackendRejected(
                    f"a Sandbox {body['metadata']['name']} is there and is not of this installation; remove it"
                ) from error
        self.sandboxes.note(made)
        return notes(body)[1] or ""

    async def _start_anew(self, spec: SandboxSpec, body: Manifest) -> str:
        await self._put_secret(spec)

        def change(found: Manifest) -> Manifest:
            about = {**found["metadata"], "annotations": {**(found["metadata"].get("annotations") or {})}}
            about["annotations"] |= body["metadata"]["annotations"]
            # The home's template is for good.
            return {**found, "metadata": about, "spec": {**found["spec"], **_without_home(body["spec"])}}

        if await self._change(spec.id, change) is None:
            raise BackendUnavailable("the sandbox was removed from the cluster while it was starting")
        return notes(body)[1] or ""

    def _body(self, spec: SandboxSpec, version: Version, run: str) -> Manifest:
        return manifests.sandbox(self._names, spec, self._options, version, run)

    async def stop(self, sandbox_id: str) -> None:
        """Have no pod of it, and wait until there is none. Absent or stopped is success."""
        version = await self.version()

        def change(found: Manifest) -> Manifest | None:
            if not wanted(found):
                return None
            return {**found, "spec": {**found["spec"], **manifests.mode(version, running=False)}}

        found = await self._change(sandbox_id, change)
        if found is None:
            return
        with trio.move_on_after(_END_SECONDS):
            while await self.pods_of(found):
                await trio.sleep(_LOOK)
                now = await self.find(sandbox_id)
                if now is not None and wanted(now):
                    return  # somebody wants it again, and a new pod would be waited for in vain
            return
        raise BackendUnavailable("the sandbox's pod does not end; see how its node is")

    async def remove(self, sandbox_id: str, workspace_id: str) -> None:
        """Remove it with its pod, its home and its secret, and wait until they are gone. Absent is success."""
        self.remember(sandbox_id, workspace_id)
        namespace = self._names.namespace(workspace_id)
        with trio.move_on_after(_REMOVE_SECONDS):
            while (found := await self._find(workspace_id, sandbox_id)) is not None:
                if not terminating(found):
                    path = await self._path(workspace_id, sandbox_id)
                    await self._cluster.delete(path, found, after_parts=True)
                else:
                    await trio.sleep(_LOOK)
            for resource, name in (
                (CLAIMS, self._names.home(sandbox_id)),
                (SECRETS, self._names.sandbox(sandbox_id)),
            ):
                path = resource.path(namespace, name)
                while (left := await self._cluster.find(path)) is not None and self._names.ours(
                    left, sandbox=sandbox_id
                ):
                    if not terminating(left):
                        await self._cluster.delete(path, left)
                    else:
                        await trio.sleep(_LOOK)
            return
        raise BackendUnavailable("the sandbox is still being removed from the cluster")

    async def hindrance(self, sandbox: Manifest, pod: Manifest | None) -> Hindrance | None:
        """What keeps it from starting, if the cluster tells."""
        namespace = sandbox["metadata"]["namespace"]
        claims = (await self._cluster.look(CLAIMS.path(namespace))).get("items") or []
        own = {manifests.CLAIM, f"{manifests.HOME_VOLUME}-{sandbox['metadata']['name']}"}
        events = (await self._cluster.look(EVENTS.path(namespace), limit=_MOST_EVENTS)).get("items") or []
        return hindrance(sandbox, pod, [each for each in claims if each["metadata"]["name"] in own], events)

    async def redactor(self, sandbox: Manifest) -> Redactor:
        """Takes the sandbox's secrets out of its output."""
        about = sandbox["metadata"]
        found = await self._cluster.find(SECRETS.path(about["namespace"], about["name"]))
        data = (found or {}).get("data") or {}
        return Redactor(secrets_in({name: base64.b64decode(text).decode() for name, text in data.items()}))

    async def _change(self, sandbox_id: str, change: Callable[[Manifest], Manifest | None]) -> Manifest | None:
        """Put another in its place, made of what is there now. The Sandbox, or ``None`` if there is none."""
        for _ in range(_TRIES):
            found = await self.find(sandbox_id)
            if found is None:
                return None
            body = change(found)
            if body is None:
                return found
            about = found["metadata"]
            path = (await self._resource()).path(about["namespace"], about["name"])
            try:
                made = await self._cluster.replace(path, body)
            except Conflict:
                continue
            except SandboxGone:
                return None
            self.sandboxes.note(made)
            return made
        raise BackendUnavailable("the sandbox is changed by somebody else all the time; try again")

    async def _put_secret(self, spec: SandboxSpec) -> None:
        body = manifests.secret(self._names, spec)
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        for _ in range(_TRIES):
            found = await self._cluster.find(SECRETS.path(namespace, name))
            try:
                if found is None:
                    await self._cluster.create(SECRETS.path(namespace), body)
                elif not self._names.ours(found, sandbox=spec.id):
                    raise BackendRejected(f"a secret {name} is there and is not of this installation; remove it")
                elif found.get("data") != body["data"]:
                    about = {**body["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
                    await self._cluster.replace(SECRETS.path(namespace, name), {**body, "metadata": about})
            except Conflict:
                continue
            except SandboxGone as error:
                if found is None:
                    raise BackendUnavailable("the workspace's namespace was removed meanwhile") from error
                continue
            return
        raise BackendUnavailable("the sandbox's secret is changed by somebody else all the time; try again")


async def _all_pods() -> str:
    return PODS.path()


def _new_run() -> str:
    return secrets.token_hex(8)


def _without_home(spec: Manifest) -> Manifest:
    return {name: value for name, value in spec.items() if name != "volumeClaimTemplates"}
