"""Sandbox objects and what the controller makes of them, in each version."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.backends.support import fake_program
from tests.conftest import find_nss_wrapper
from tests.kubernetes_api.support import GROUP, IMAGE, Client, condition, sandbox, until
from tests.standins.kubernetes import Cluster, schemas
from tests.standins.kubernetes.structure import Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("bubblewrap", "root")
_VERSIONS = [("v0.1.1", "v1alpha1"), ("v0.5.6", "v1alpha1"), ("v0.5.6", "v1beta1")]


@pytest.fixture(params=_VERSIONS, ids="-".join)
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of a cluster that serves one version."""
    release, version = request.param
    with Cluster(tmp_path / "cluster", release=release, served=(version,)) as cluster, cluster.client() as api:
        cluster.storage_class("standard")
        cluster.image(IMAGE, fake_program(tmp_path))
        client = Client(cluster, api, "team", version)
        client.core.create_namespace({"metadata": {"name": "team"}})
        client.secret()
        yield client


def _sandbox(client: Client) -> dict[str, object]:
    made = sandbox(version=client.version)
    if client.cluster.world.release == "v0.1.1":
        del made["spec"]["service"]
    return made


def _switch(client: Client, *, on: bool) -> int:
    """Resume or suspend. The generation after it."""
    spec = {"operatingMode": "Running" if on else "Suspended"} if client.version == "v1beta1" else {"replicas": int(on)}
    return int(client.patch("one", {"spec": spec})["metadata"]["generation"])


def test_a_sandbox_runs_pauses_resumes_and_goes(one: Client) -> None:
    one.create(_sandbox(one))
    found = one.ready()
    assert condition(found)["observedGeneration"] == 1
    assert found["status"]["serviceFQDN"] == "one.team.svc.cluster.local"
    pod = one.pod()
    assert f"{pod['status']['podIP']} one.team.svc.cluster.local" in one.cluster.hosts.read_text()
    (claim,) = one.cluster.objects("persistentvolumeclaims", "team")
    assert claim["metadata"]["name"] == "home-one"
    (one.cluster.disk("team", "home-one") / "kept").write_text("x")
    assert _switch(one, on=False) == 2
    until(lambda: not one.pod())
    found = until(lambda: (found := one.sandbox()) and condition(found)["observedGeneration"] == 2 and found)
    assert condition(found)["status"] == "False"
    assert found["status"]["serviceFQDN"], "the service stays"
    assert one.cluster.hosts.read_text() == "", "and its name leads nowhere"
    assert _switch(one, on=True) == 3
    until(
        lambda: condition(one.sandbox()).get("observedGeneration") == 3 and condition(one.sandbox())["status"] == "True"
    )
    assert one.pod()["metadata"]["uid"] != pod["metadata"]["uid"]
    assert (one.cluster.disk("team", "home-one") / "kept").read_text() == "x"
    one.delete("one")
    kinds = ("pods", "services", "persistentvolumeclaims")
    until(lambda: not any(one.cluster.objects(kind, "team") for kind in kinds))


def test_its_status_is_what_the_definition_has(one: Client) -> None:
    one.create(_sandbox(one))
    one.ready()
    shown = one.sandbox()
    release = one.cluster.world.release
    found = Schemas().take(schemas.sandbox_schema(release, one.version), shown)[1]
    assert (found.causes, found.unknown) == ([], [])
    names = set(
        schemas.version_of(release, one.version)["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    )
    assert names == set(shown["status"]), "each field is written"


def test_without_service_there_is_no_name(client: Client, cluster: Cluster) -> None:
    client.secret()
    made = sandbox()
    del made["spec"]["service"]
    client.create(made)
    found = client.ready()
    assert "serviceFQDN" not in found["status"]
    assert not cluster.objects("services", client.namespace)
    client.patch("one", {"spec": {"service": True}})
    until(lambda: "serviceFQDN" in client.sandbox()["status"])
    client.patch("one", {"spec": {"service": False}})
    until(lambda: not cluster.objects("services", client.namespace))


def test_a_pod_that_is_refused_is_told_by_the_sandbox(client: Client, cluster: Cluster) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    client.core.patch_namespace(client.namespace, label)
    made = sandbox()
    made["spec"]["podTemplate"]["spec"]["containers"][0]["securityContext"] = {}
    client.create(made)
    why = until(lambda: (found := condition(client.sandbox()))["status"] and found)
    assert (why["status"], why["reason"]) == ("False", "ReconcilerError")
    assert 'violates PodSecurity "restricted:latest"' in why["message"]
    (event,) = (one for one in cluster.objects("events", client.namespace) if one["reason"] == "ReconcilerError")
    assert event["involvedObject"]["name"] == "one"


def test_a_pod_that_is_there_is_not_taken(client: Client) -> None:
    client.run()
    client.create(sandbox())
    why = until(lambda: (found := condition(client.sandbox()))["reason"] and found)
    assert "is not controlled by this sandbox" in why["message"]


def test_a_pod_that_is_deleted_is_made_again(client: Client) -> None:
    client.secret()
    client.create(sandbox())
    client.ready()
    first = client.pod()["metadata"]["uid"]
    client.core.delete_namespaced_pod("one", client.namespace)
    until(lambda: (found := client.pod()) and found["metadata"]["uid"] != first)
    client.ready()


def test_a_pod_that_has_failed_stays(client: Client, cluster: Cluster) -> None:
    client.secret()
    client.create(sandbox())
    client.ready()
    cluster.evict(client.namespace, "one")
    # Its probe may have failed before that.
    until(lambda: condition(client.sandbox())["message"] == "Pod exists with phase: Failed")
    assert condition(client.sandbox())["status"] == "False"


@pytest.mark.needs("nss-wrapper")
def test_names_lead_to_pods(client: Client, cluster: Cluster) -> None:
    library = find_nss_wrapper()
    client.secret()
    client.create(sandbox())
    found = client.ready()
    name = found["status"]["serviceFQDN"]
    (line,) = (line for line in cluster.hosts.read_text().splitlines() if name in line.split())
    with socket.create_connection((line.split()[0], 4096), timeout=20):
        pass
    words = ["python3", "-c", f"import socket; print(socket.gethostbyname({name!r}))"]
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(library), "NSS_WRAPPER_HOSTS": str(cluster.hosts)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == line.split()[0]


def test_the_version_that_is_not_served_is_not_there(one: Client) -> None:
    other = "v1alpha1" if one.version == "v1beta1" else "v1beta1"
    listed = one.custom.get_api_resources(GROUP, one.version).resources
    assert [found.kind for found in listed] == ["Sandbox", "Sandbox"]
    one.version = other
    with pytest.raises(Exception, match="404"):
        one.sandbox()
