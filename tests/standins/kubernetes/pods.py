"""The scheduler and the kubelet of the one node: pods become local processes, and their status is written.

A pod's life is one task: volumes, secrets, image, process, readiness, end. Time is quicker than in a cluster: probes
run every ``PROBE_EVERY`` seconds whatever their period, failed pulls and crashes are tried again after ``BACK_OFF``.
A grace period is as long as the pod says. What it does NOT do: more than one container, init containers, liveness and
startup probes, limits of memory and processor, resource accounting of the node, host names of pods.
"""

from __future__ import annotations

import base64
import itertools
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.standins.kubernetes import answers, jail, probes, volumes
from tests.standins.kubernetes.network import PodNetwork
from tests.standins.kubernetes.podstatus import Life, Statuses
from tests.standins.kubernetes.process import Log, Process, environment
from tests.standins.kubernetes.store import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.standins.kubernetes.api import Call
    from tests.standins.kubernetes.world import Image

Json = dict[str, Any]
NODE: Final = "node-1"
PROBE_EVERY: Final = 0.05  # seconds
BACK_OFF: Final = 0.2  # seconds; ten seconds and more in a cluster
_numbers = itertools.count()
_claim: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@cache
def _second() -> int:
    """Of 127.0.0.0/8, a part for each process that runs tests at the same time: whoever has it has its name, too."""
    for number in range(64, 192):
        with suppress(OSError):
            _claim.bind(f"\0cli-server-tests-127.{number}")
            return number
    raise AssertionError("all parts of 127.0.0.0/8 are taken")


def _address() -> str:
    number = next(_numbers) % 64000 + 256
    return f"127.{_second()}.{number // 256}.{number % 256 or 1}"


class _Failed(Exception):
    """The container cannot be started: (reason, message) of its waiting state."""


@dataclass
class Kubelet(Statuses):
    """See the module's text."""

    lives: dict[str, Life] = field(default_factory=dict)
    left_alone: list[trio.Process] = field(default_factory=list)  # commands whose client has gone; they go on

    async def run(self) -> None:
        """Take up pods until it is cancelled; then their processes are killed."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    seen = self._world.store.revision
                    for pod in self._world.store.list(self._kind.key):
                        self._consider(nursery, pod)
                    await self._world.store.wait(seen, 60)
        finally:
            with trio.CancelScope(shield=True):
                for process in self.left_alone:
                    process.kill()
                    await process.wait()

    def _consider(self, nursery: trio.Nursery, pod: Json) -> None:
        about = pod["metadata"]
        if about["uid"] in self.lives or "deletionTimestamp" in about or pod["status"]["phase"] != "Pending":
            return
        if not pod["spec"].get("nodeName"):
            why = self._no_place(pod)
            if why:
                self._condition(pod, "PodScheduled", "False", "Unschedulable", why)
                return
            pod["spec"]["nodeName"] = NODE
            pod = self._world.store.update(self._kind, pod)
            self._condition(pod, "PodScheduled", "True")
        life = Life(about["namespace"], about["name"], about["uid"])
        self.lives[about["uid"]] = life
        nursery.start_soon(self._live, life)

    def _no_place(self, pod: Json) -> str:
        """Why the scheduler finds no node."""
        if self._world.unschedulable:
            return self._world.unschedulable
        for volume in pod["spec"].get("volumes") or ():
            if (claim := volume.get("persistentVolumeClaim")) is None:
                continue
            found = self._world.store.find(
                ("", "persistentvolumeclaims"), pod["metadata"]["namespace"], claim["claimName"]
            )
            if found is None:
                return f'0/1 nodes are available: persistentvolumeclaim "{claim["claimName"]}" not found.'
            if "deletionTimestamp" in found["metadata"]:
                return f'0/1 nodes are available: persistentvolumeclaim "{claim["claimName"]}" is being deleted.'
            if found["status"]["phase"] != "Bound":
                return "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        return ""

    # One pod

    async def _live(self, life: Life) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_deleted, life, nursery.cancel_scope)
                with life.scope:
                    await self._runs(life)
                if life.verdict is not None:
                    self._finish(life)
        finally:
            if life.process is not None:
                life.process.destroy()
            self._gone(life)

    async def _runs(self, life: Life) -> None:
        """Run the container as often as the pod's restart policy says."""
        restarts = 0
        while True:
            pod = self._now(life)
            if pod is None:
                await trio.sleep_forever()
                return
            try:
                await self._once(life, pod, restarts)
            except _Failed as failed:
                reason, message = failed.args
                self._waiting(life, reason, message, restarts)
                self._said(life, "Warning", "Failed", message)
                await trio.sleep(BACK_OFF)
                if reason == "ErrImagePull":
                    text = f'Back-off pulling image "{pod["spec"]["containers"][0]["image"]}"'
                    self._waiting(life, "ImagePullBackOff", text, restarts)
                    await trio.sleep(BACK_OFF)
                continue
            if life.verdict is not None:
                self._finish(life)
            if life.ending or life.verdict is not None:
                await trio.sleep_forever()
            state = (self._now(life) or {"status": {}})["status"].get("containerStatuses", [{}])[0].get("state", {})
            code = state.get("terminated", {}).get("exitCode", 1)
            policy = pod["spec"].get("restartPolicy", "Always")
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                self._update(life, phase="Succeeded" if code == 0 else "Failed")
                await trio.sleep_forever()
            restarts += 1
            text = f"back-off restarting failed container={pod['spec']['containers'][0]['name']} pod={life.name}"
            self._waiting(life, "CrashLoopBackOff", text, restarts, last=state)
            self._said(life, "Warning", "BackOff", text)
            await trio.sleep(BACK_OFF * restarts)

    async def _once(self, life: Life, pod: Json, restarts: int) -> None:
        """One run of the container, from its start to its end."""
        (container,) = pod["spec"]["containers"]
        assert not pod["spec"].get("initContainers"), "the stand-in has no init containers"
        life.address = life.address or _address()
        if not restarts:
            self._waiting(life, "ContainerCreating", "", 0)
        image = self._image(container)
        if jail.must_not_be_root(pod, container) and not jail.user_of(pod, container):
            text = "container has runAsNonRoot and image will run as root"
            raise _Failed("CreateContainerConfigError", text)
        try:
            env = self.variables(life, pod)
            mounts = volumes.mounts(self._world, pod, container)
        except LookupError as error:
            raise _Failed("CreateContainerConfigError", str(error.args[0])) from error
        log = Log()
        words = jail.command(pod, container, image, mounts, self._hosts(life, pod))
        life.process = Process(words, self._program(life, container, image, env), env, log)
        life.logs.append(log)
        await life.process.started()
        started = now()
        self._container(life, {"running": {"startedAt": started}}, restarts, started=True, phase="Running")
        self._said(life, "Normal", "Started", f"Started container {container['name']}")
        code = await self._watched(life, life.process, container)
        self._ended(life, code, started, restarts)

    async def _watched(self, life: Life, process: Process, container: Json) -> int:
        """The exit status, after the process was probed and its doors were open as long as it ran."""
        code = 1
        async with trio.open_nursery() as nursery:
            life.network = PodNetwork(life.address, process.pid)
            await nursery.start(life.network.serve)
            for number, (_, port, address, beyond) in enumerate(self._ways()):
                nursery.start_soon(life.network.way_out, (_way(number), port), (address, beyond))
            nursery.start_soon(self._probed, life, process, container)
            code = await process.run()
            nursery.cancel_scope.cancel()
        return code

    def _ways(self) -> list[tuple[str, int, str, int]]:
        return self._world.ways

    async def _probed(self, life: Life, process: Process, container: Json) -> None:
        """Write whether the container is ready, each time that it changes."""
        probe = container.get("readinessProbe")
        ready, failures = False, 0
        while True:
            pod = self._now(life)
            well = probe is None or (
                pod is not None and await probes.asked(probe, process.pid, life.address, pod, container)
            )
            failures = 0 if well else failures + 1
            wanted = well or (ready and failures < (probe or {}).get("failureThreshold", 3))
            if self.lost:
                wanted = ready
            if wanted != ready:
                if life.network is not None:
                    await life.network.look()
                ready = wanted
                self._ready(life, ready)
            if probe is None:
                return
            await trio.sleep(PROBE_EVERY)

    def _program(self, life: Life, container: Json, image: Image, env: dict[str, str]) -> list[str]:
        words = jail.program(container, image, env)
        return words if jail.IS_ROOT else [life.address if word == "0.0.0.0" else word for word in words]

    def _image(self, container: Json) -> Image:
        name = container["image"]
        found = self._world.images.get(name)
        if found is None:
            text = f'Failed to pull image "{name}": rpc error: code = NotFound desc = not found'
            raise _Failed("ErrImagePull", text)
        return found

    def _environment(self, life: Life, pod: Json, container: Json) -> dict[str, str]:
        found = self._world.store.list(("", "secrets"), life.namespace)
        secrets = {
            one["metadata"]["name"]: {
                key: base64.b64decode(value).decode(errors="surrogateescape")
                for key, value in (one.get("data") or {}).items()
            }
            for one in found
        }
        fields = {
            "metadata.name": life.name, "metadata.namespace": life.namespace, "metadata.uid": life.uid,
            "status.podIP": life.address, "status.hostIP": "127.0.0.1", "spec.nodeName": NODE,
        }  # fmt: skip
        return environment(container, secrets, fields)

    def _hosts(self, life: Life, pod: Json) -> str:
        path = volumes.of_pod(self._world, pod)
        path.mkdir(parents=True, exist_ok=True)
        ways = "".join(f"{_way(number)} {way[0]}\n" for number, way in enumerate(self._ways()))
        (path / ".hosts").write_text(f"127.0.0.1 localhost\n{life.address} {life.name}\n{ways}")
        return str(path / ".hosts")

    # Its end

    async def _until_deleted(self, life: Life, scope: trio.CancelScope) -> None:
        """Wait until the pod is to go, have its process end, and take its object away."""
        while True:
            seen = self._world.store.revision
            pod = self._now(life)
            if pod is None:
                if life.process is not None:
                    life.process.kill()
                break
            if "deletionTimestamp" in pod["metadata"] and not self.lost:
                life.ending = True
                await self._terminate(life, pod["metadata"].get("deletionGracePeriodSeconds", 30))
                break
            await self._world.store.wait(seen, 60)
        scope.cancel()

    async def _terminate(self, life: Life, grace: float) -> None:
        self._ready(life, ready=False)
        self._said(life, "Normal", "Killing", "Stopping container")
        await self._stopped(life, grace)
        life.scope.cancel()
        if self._now(life) is not None:
            self.api.delete(self._kind, self._now(life) or {}, 0)

    async def _stopped(self, life: Life, grace: float) -> None:
        """End the process, by force if it has not ended after so many seconds."""
        process = life.process
        if process is None or process.log.ended:
            return
        process.end()
        with trio.move_on_after(grace):
            async for _ in process.log.follow(len(process.log.data), further=True):
                if self._now(life) is None:
                    break
            return
        process.kill()
        async for _ in process.log.follow(len(process.log.data), further=True):
            pass

    def _gone(self, life: Life) -> None:
        """Everything of it has ended."""
        pod = {"metadata": {"uid": life.uid}}
        if self._now(life) is None:
            volumes.forget(volumes.of_pod(self._world, pod))
            self.lives.pop(life.uid, None)
            self._world.store.wake()

    # What requests and tests ask for

    def life(self, namespace: str, name: str) -> Life | None:
        """The pod's, if it has one."""
        return next((life for life in self.lives.values() if (life.namespace, life.name) == (namespace, name)), None)

    def finish(self, namespace: str, name: str, **status: Any) -> None:
        """End a pod from outside, with a status: it was evicted, or has no memory left."""
        life = self.life(namespace, name)
        assert life is not None, f"no pod {namespace}/{name} runs"
        life.verdict = status
        if life.process is None or life.process.log.ended:
            life.scope.cancel()
        else:
            life.process.kill()

    def variables(self, life: Life, pod: Json) -> dict[str, str]:
        """The environment of the pod's container."""
        (container,) = pod["spec"]["containers"]
        found = {"PATH": _PATH, "HOSTNAME": life.name, **dict(self._image(container).env)}
        return found | self._environment(life, pod, container)

    def log(self, call: Call) -> AsyncIterator[bytes]:
        """The output of a pod. Raises a refusal if it has none."""
        pod = self._world.store.get(self._kind, call.namespace, call.name)
        life, query = self.life(call.namespace, call.name), call.query
        name = query.get("container", pod["spec"]["containers"][0]["name"])
        if name != pod["spec"]["containers"][0]["name"]:
            raise answers.bad_request(f"container {name} is not valid for pod {call.name}")
        logs = life.logs if life else []
        previous = query.get("previous") == "true"
        if self.lost:
            raise answers.Refused(
                500, "InternalError", f"Internal error: dial tcp {NODE}:10250: connect: no route to host"
            )
        if previous and len(logs) < 2:
            raise answers.bad_request(f'previous terminated container "{name}" in pod "{call.name}" not found')
        if not logs:
            state = pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {})
            why = state.get("reason", "ContainerCreating")
            raise answers.bad_request(f'container "{name}" in pod "{call.name}" is waiting to start: {why}')
        log = logs[-2] if previous else logs[-1]
        start = 0
        if "tailLines" in query:
            lines = bytes(log.data).splitlines(keepends=True)
            start = sum(map(len, lines[: max(len(lines) - int(query["tailLines"]), 0)]))
        return log.follow(start, further=query.get("follow") == "true")


def _way(number: int) -> str:
    """The address inside of something outside."""
    return f"127.254.{number // 250}.{number % 250 + 1}"
