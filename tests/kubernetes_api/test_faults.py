"""Faults: each does what it says, and nothing else, and ends."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import httpx
import kubernetes
import pytest
import urllib3

from tests.kubernetes_api.support import refused, sandbox

if TYPE_CHECKING:
    from tests.kubernetes_api.support import Client
    from tests.standins.kubernetes import Cluster


def _config(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}}


def test_the_api_is_away_and_back(client: Client, cluster: Cluster) -> None:
    client.core.create_namespaced_config_map(client.namespace, _config("one"))
    cluster.away()
    with pytest.raises(httpx.ConnectError, match="refused"):
        httpx.get(f"{cluster.url}/api", trust_env=False)
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.core.list_namespace()
    cluster.back()
    assert client.core.read_namespaced_config_map("one", client.namespace)


def test_it_is_slow(client: Client, cluster: Cluster) -> None:
    cluster.faults.delay = 0.2
    started = time.monotonic()
    client.core.list_namespace()
    with refused(404):
        client.core.read_namespaced_config_map("none", client.namespace)
    assert time.monotonic() - started > 0.39
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.core.list_namespace(_request_timeout=0.05)


@pytest.mark.parametrize("code", [409, 429, 500, 503])
def test_some_requests_fail(client: Client, cluster: Cluster, code: int) -> None:
    cluster.faults.fail(code, every=3, when=lambda asked: asked.verb == "create")
    for number in range(6):
        with refused(code) if number % 3 == 2 else nullcontext():
            client.core.create_namespaced_config_map(client.namespace, _config(f"map-{number}"))
    assert len(cluster.objects("configmaps", client.namespace)) == 4, "what failed was not done"
    assert client.core.list_namespace(), "others do not fail"


def test_how_long_to_wait_is_said(client: Client, cluster: Cluster) -> None:
    cluster.faults.fail(429, retry_after=0)
    url = f"{cluster.url}/api/v1/namespaces"
    answer = httpx.get(url, headers=client.token, trust_env=False)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "0")
    assert answer.json()["details"] == {"retryAfterSeconds": 0}


@pytest.mark.parametrize("code", [504, 0])
def test_an_answer_is_lost(client: Client, cluster: Cluster, code: int) -> None:
    cluster.faults.lose(code=code, when=lambda asked: asked.resource == "configmaps")
    with pytest.raises((kubernetes.client.ApiException, urllib3.exceptions.HTTPError)):
        client.core.create_namespaced_config_map(client.namespace, _config("one"))
    assert cluster.object("configmaps", client.namespace, "one"), "it was done"


def test_a_webhook_refuses(client: Client, cluster: Cluster) -> None:
    cluster.faults.denied["sandboxes"] = "no sandboxes on Fridays"
    with refused(403, "denied the request: no sandboxes on Fridays"):
        client.create(sandbox())
    client.core.create_namespaced_config_map(client.namespace, _config("one"))
    cluster.faults.clear()
    client.create(sandbox())


def test_rights_are_missing(client: Client, cluster: Cluster) -> None:
    cluster.faults.forbidden.add(("list", "secrets"))
    with refused(403, "cannot list resource"):
        client.core.list_namespaced_secret(client.namespace)
    client.core.create_namespaced_secret(client.namespace, _config("one"))
