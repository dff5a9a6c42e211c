"""Pods: what becomes of them, what runs in them, and how they end."""

from __future__ import annotations

import base64
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import kubernetes
import pytest

from tests.kubernetes_api.support import PASSWORD, claim, condition, pod, refused, until
from tests.standins.kubernetes import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes_api.support import Client, Json
    from tests.standins.kubernetes import Cluster

pytestmark = pytest.mark.needs("bubblewrap", "root")


_TO_ITSELF = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %d))'"


def _get(found: Json, path: str, port: int = 4096, **params: str) -> str:
    url = f"http://{found['status']['podIP']}:{port}{path}"
    answer = httpx.get(url, params=params, auth=("opencode", PASSWORD), trust_env=False, timeout=20)
    answer.raise_for_status()
    return answer.text


def _inside(found: Json, command: str) -> str:
    return _get(found, "/run", command=command).strip()


def _state(client: Client, name: str = "one") -> Json:
    (one,) = client.pod(name).get("status", {}).get("containerStatuses") or [{"state": {}}]
    return dict(one)


def _shell(script: str, **changes: Any) -> Json:
    return {"command": ["/bin/sh", "-c", script], "readinessProbe": {"exec": {"command": ["true"]}}, **changes}


def test_a_pod_runs(client: Client) -> None:
    found = client.run()
    assert found["status"]["phase"] == "Running"
    assert _state(client)["ready"]
    assert found["spec"]["nodeName"] == "node-1"
    assert _get(found, "/global/health") == '{"healthy": true}'
    assert _inside(found, "echo $HOME; pwd; id -u; id -G").split() == ["/home/agent", "/home/agent", "1000", "1000"]
    assert _inside(found, "touch /home/agent/x && touch /usr/x 2>&1; ls /home/agent").splitlines()[-1] == "x"
    assert _inside(
        found, "grep Cap.*: /proc/self/status | grep -vc 0000000000000000; grep NoNewPrivs /proc/self/status"
    ) == ("0\nNoNewPrivs:\t1")
    assert client.cluster.kubeconfig.parent.name not in _inside(found, "ls / /tmp /root 2>&1; env")


def test_each_pod_has_a_network_of_its_own(client: Client) -> None:
    one, two = client.run(), (client.core.create_namespaced_pod(client.namespace, pod("two")), client)[1]
    other = until(lambda: (found := two.pod("two")) and condition(found)["status"] == "True" and found)
    assert one["status"]["podIP"] != other["status"]["podIP"]
    serve = "cd /tmp; python3 -m http.server 5000 --bind %s >/dev/null 2>&1 &"
    _inside(one, serve % "0.0.0.0")
    _inside(other, serve % "127.0.0.1")
    until(lambda: _inside(other, f"{_TO_ITSELF % 5000} && echo served").endswith("served"))
    assert until(lambda: _reached(one, 5000))
    assert not _reached(other, 5000), "who listens on 127.0.0.1 is alone with itself"
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        assert "refused" in _inside(one, f"{_TO_ITSELF % port} 2>&1")
    _inside(one, "pkill -f 'http.server [5]000'")
    until(lambda: not _reached(one, 5000))


def _reached(found: Json, port: int) -> bool:
    try:
        return _get(found, "/", port) != ""
    except httpx.TransportError:
        return False


def test_what_the_test_opens_is_reached(client: Client, cluster: Cluster, tmp_path: Path) -> None:
    outside = client.run("outside")
    client.cluster.reach("proxy.example.svc", 8081, (outside["status"]["podIP"], 4096))
    client.core.create_namespaced_pod(client.namespace, pod())
    found = until(lambda: (found := client.pod()) and condition(found)["status"] == "True" and found)
    script = (
        'import urllib.request, base64; r = urllib.request.Request("http://proxy.example.svc:8081/global/health");'
        f'r.add_header("Authorization", "Basic {base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()}");'
        "print(urllib.request.urlopen(r).read().decode())"
    )
    assert _inside(found, f"python3 -c '{script}'") == '{"healthy": true}'
    cluster.world.ways.clear()


def test_it_is_ready_when_its_probe_says_so(client: Client) -> None:
    probe = {"exec": {"command": ["test", "-e", "/home/agent/ready"]}, "failureThreshold": 1}
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod(readinessProbe=probe))
    found = until(lambda: (found := client.pod())["status"]["phase"] == "Running" and found)
    assert condition(found)["status"] == "False"
    until(lambda: _reached(found, 4096) if _listens(found) else False)
    _inside(found, "touch ready")
    until(lambda: condition(client.pod())["status"] == "True")
    _inside(found, "rm ready")
    until(lambda: condition(client.pod())["status"] == "False")


def _listens(found: Json) -> bool:
    try:
        return _inside(found, "true") == ""
    except httpx.TransportError:
        return False


def test_a_probe_over_http(client: Client) -> None:
    basic = base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()
    headers = [{"name": "Authorization", "value": f"Basic {basic}"}]
    probe = {"httpGet": {"path": "/global/health", "port": "http", "httpHeaders": headers}}
    client.run(readinessProbe=probe)
    without = {"httpGet": {"path": "/global/health", "port": "http"}}
    client.core.create_namespaced_pod(client.namespace, pod("two", readinessProbe=without))
    until(lambda: (found := client.pod("two"))["status"]["phase"] == "Running" and _reached_or_401(found))
    assert condition(client.pod("two"))["status"] == "False", "401 is no success"


def _reached_or_401(found: Json) -> bool:
    try:
        return httpx.get(f"http://{found['status']['podIP']}:4096/", trust_env=False).status_code == 401
    except httpx.TransportError:
        return False


def test_variables_come_from_secrets_and_fields(client: Client) -> None:
    secret = {"metadata": {"name": "more"}, "stringData": {"KEY": "value", "OTHER": "x"}}
    client.core.create_namespaced_secret(client.namespace, secret)
    env = [
        {"name": "HOME", "value": "/home/agent"},
        {"name": "ONE", "valueFrom": {"secretKeyRef": {"name": "more", "key": "KEY"}}},
        {"name": "TWO", "value": "$(ONE)-$(NONE)"},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    found = client.run(env=env)
    assert _inside(found, "echo $ONE $TWO $ADDRESS") == f"value value-$(NONE) {found['status']['podIP']}"
    assert not _inside(found, "echo $OTHER")


def test_without_its_secret_it_does_not_start(client: Client) -> None:
    client.core.create_namespaced_pod(client.namespace, pod())
    waiting = until(
        lambda: _state(client)["state"].get("waiting", {}).get("message") and _state(client)["state"]["waiting"]
    )
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'secret "env" not found'}
    client.secret()
    until(lambda: condition(client.pod())["status"] == "True")


def test_an_image_that_is_not_there(client: Client, cluster: Cluster) -> None:
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod(image="example.com/none:1"))
    seen = set()

    def waits() -> bool:
        seen.add(_state(client)["state"].get("waiting", {}).get("reason"))
        return {"ErrImagePull", "ImagePullBackOff"} <= seen

    until(waits)
    assert client.pod()["status"]["phase"] == "Pending"
    assert "Failed" in {one["reason"] for one in cluster.objects("events", client.namespace)}
    with refused(400, "waiting to start"):
        client.core.read_namespaced_pod_log("one", client.namespace)


def test_a_user_must_be_named_where_root_is_refused(client: Client) -> None:
    body = pod()
    del body["spec"]["securityContext"]["runAsUser"]
    client.secret()
    client.core.create_namespaced_pod(client.namespace, body)
    until(lambda: "will run as root" in _state(client)["state"].get("waiting", {}).get("message", ""))


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (7, "Failed", "Error")])
def test_it_ends_by_itself(client: Client, code: int, phase: str, reason: str) -> None:
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod(**_shell(f"echo out; echo err >&2; exit {code}")))
    until(lambda: client.pod()["status"]["phase"] == phase)
    ended = _state(client)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    assert client.core.read_namespaced_pod_log("one", client.namespace) == "out\nerr\n"
    assert client.core.read_namespaced_pod_log("one", client.namespace, tail_lines=1) == "err\n"


def test_it_is_started_again_where_its_policy_says_so(client: Client) -> None:
    client.secret()
    body = pod(**_shell("echo run; exit 3"))
    body["spec"]["restartPolicy"] = "Always"
    client.core.create_namespaced_pod(client.namespace, body)
    until(lambda: _state(client).get("restartCount", 0) >= 1)
    until(lambda: _state(client)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    assert _state(client)["lastState"]["terminated"]["exitCode"] == 3
    assert client.pod()["status"]["phase"] == "Running", "the phase stays"
    until(lambda: _state(client).get("restartCount", 0) >= 2)
    assert client.core.read_namespaced_pod_log("one", client.namespace, previous=True) == "run\n"


def test_logs_are_followed_to_the_end(client: Client) -> None:
    found = client.run()
    answer = client.core.read_namespaced_pod_log("one", client.namespace, follow=True, _preload_content=False)
    pieces = answer.stream()
    assert next(pieces) == b"fake opencode is starting\n"
    _get(found, "/say", text="more")
    assert next(pieces) == b"more\n"
    client.core.delete_namespaced_pod("one", client.namespace)
    assert list(pieces) == []


def test_commands_run_inside(client: Client) -> None:
    client.run()
    for script, out, code in (("pwd; id -u; echo $HOME", "/home/agent\n1000\n/home/agent\n", 0), ("exit 9", "", 9)):
        with _closed(_exec(client, ["sh", "-c", script])) as ws:
            ws.run_forever(timeout=30)
            assert (ws.read_stdout(), ws.returncode) == (out, code)
    with _closed(_exec(client, ["sh", "-c", "cat; echo err >&2"], stdin=True)) as ws:
        assert ws.subprotocol == "v5.channel.k8s.io"
        ws.write_stdin("some input\n" * 5000)
        ws.close_channel(0)
        ws.run_forever(timeout=30)
        assert ws.read_stdout() == "some input\n" * 5000
        assert ws.read_stderr() == "err\n"


@contextmanager
def _closed(ws: Any) -> Iterator[Any]:
    """The client's own ``close`` leaves the socket open where the server has closed first."""
    try:
        yield ws
    finally:
        ws.close()
        ws.sock.shutdown()


def _exec(client: Client, command: list[str], *, stdin: bool = False) -> Any:
    call = client.core.connect_get_namespaced_pod_exec
    options: Any = {"command": command, "stdin": stdin, "stdout": True, "stderr": True, "tty": False}
    return kubernetes.stream.stream(call, "one", client.namespace, **options, _preload_content=False)


def test_a_command_goes_on_without_its_connection(client: Client) -> None:
    found = client.run()
    script = "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo done >done"
    with _closed(_exec(client, ["sh", "-c", script])) as ws:
        assert ws.readline_stdout(timeout=30) == "begun"
    _inside(found, "touch go")
    until(lambda: _inside(found, "cat done 2>/dev/null") == "done")


def test_nothing_runs_in_what_has_ended(client: Client) -> None:
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod(**_shell("exit 0")))
    until(lambda: client.pod()["status"]["phase"] == "Succeeded")
    with pytest.raises(kubernetes.client.ApiException, match="container not found"):
        _exec(client, ["true"])


def test_it_is_terminating_until_its_process_has_ended(client: Client) -> None:
    script = "trap '' TERM; while :; do sleep 0.1; done"
    found = client.run(**_shell(script))
    pids = [path for path in Path("/proc").glob("[0-9]*/cmdline") if script.encode() in _read(path)]
    assert pids
    started = time.monotonic()
    client.core.delete_namespaced_pod("one", client.namespace, grace_period_seconds=1)
    ending = client.pod()
    assert ending["metadata"]["deletionTimestamp"]
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 1
    assert ending["metadata"]["uid"] == found["metadata"]["uid"]
    until(lambda: not client.pod())
    assert time.monotonic() - started > 0.5, "it had its grace period"
    assert not [path for path in pids if script.encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_forced_deletion_is_at_once(client: Client) -> None:
    script = "trap '' TERM; while :; do sleep 0.05; done #forced"
    client.run(**_shell(script))
    client.core.delete_namespaced_pod("one", client.namespace, grace_period_seconds=0)
    assert not client.pod()
    until(lambda: not [path for path in Path("/proc").glob("[0-9]*/cmdline") if script.encode() in _read(path)])


def test_an_evicted_pod_stays_as_failed(client: Client, cluster: Cluster) -> None:
    client.run()
    cluster.evict(client.namespace, "one")
    status = until(lambda: (found := client.pod()["status"])["phase"] == "Failed" and found)
    assert status["reason"] == "Evicted"
    assert "memory" in status["message"]
    assert condition(client.pod())["status"] == "False"


def test_what_has_no_memory_left_is_killed(client: Client, cluster: Cluster) -> None:
    client.run()
    cluster.out_of_memory(client.namespace, "one")
    until(lambda: client.pod()["status"]["phase"] == "Failed")
    ended = _state(client)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_a_lost_node_keeps_its_pods(client: Client, cluster: Cluster) -> None:
    client.run()
    cluster.lose_node()
    assert condition(client.pod())["status"] == "False"
    client.core.delete_namespaced_pod("one", client.namespace)
    with refused(500, "no route to host"):
        client.core.read_namespaced_pod_log("one", client.namespace)
    assert client.pod()["metadata"]["deletionTimestamp"], "nobody can say that it has ended"
    cluster.find_node()
    until(lambda: not client.pod())


def test_no_node_takes_it(client: Client, cluster: Cluster) -> None:
    client.secret()
    cluster.unschedulable()
    client.core.create_namespaced_pod(client.namespace, pod())
    why = until(lambda: (found := condition(client.pod(), "PodScheduled"))["status"] == "False" and found)
    assert (why["reason"], why["message"]) == ("Unschedulable", "0/1 nodes are available: 1 Insufficient memory.")
    cluster.unschedulable("")
    until(lambda: condition(client.pod())["status"] == "True")


def test_a_read_only_root(client: Client) -> None:
    context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    found = client.run(securityContext=context)
    assert "Read-only file system" in _inside(found, "touch /x 2>&1")
    assert _inside(found, "touch ~/x && echo written") == "written"


def test_an_entry_point_is_the_images(client: Client, cluster: Cluster) -> None:
    cluster.image("shell:1", Image(("/bin/sh", "-c"), ("echo default; sleep 99",)))
    client.secret()
    for name, given, said in (("one", {}, "default\n"), ("two", {"args": ["echo $(GIVEN)"]}, "given\n")):
        env = [{"name": "GIVEN", "value": "given"}]
        body = pod(name, image="shell:1", env=env, **given)
        del body["spec"]["containers"][0]["command"]
        client.core.create_namespaced_pod(client.namespace, body)
        until(lambda name=name: client.pod(name)["status"]["phase"] in ("Running", "Succeeded"))  # type: ignore[misc]
        until(lambda name=name, said=said: client.core.read_namespaced_pod_log(name, client.namespace) == said)  # type: ignore[misc]


def test_volumes_outlive_pods(client: Client, cluster: Cluster) -> None:
    client.core.create_namespaced_persistent_volume_claim(client.namespace, claim())
    body = pod()
    body["spec"]["volumes"] = [{"name": "home", "persistentVolumeClaim": {"claimName": "disk"}}]
    client.secret()
    client.core.create_namespaced_pod(client.namespace, body)
    found = until(lambda: (found := client.pod()) and condition(found)["status"] == "True" and found)
    _inside(found, "echo kept >file")
    place = cluster.disk(client.namespace, "disk")
    assert os.stat(place).st_mode & 0o2770 == 0o2770
    client.core.delete_namespaced_persistent_volume_claim("disk", client.namespace)
    held = client.core.read_namespaced_persistent_volume_claim("disk", client.namespace)
    assert held.metadata.deletion_timestamp, "a pod uses it"
    assert (place / "file").read_text() == "kept\n"
    client.core.delete_namespaced_pod("one", client.namespace)
    until(lambda: not cluster.objects("persistentvolumeclaims", client.namespace))
    assert not place.exists()
