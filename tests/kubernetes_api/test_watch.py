"""Watches, by the official client and on the wire."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import kubernetes
import pytest

from tests.kubernetes_api.support import GROUP, refused, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes_api.support import Client, Json


@contextmanager
def _watching(client: Client, plural: str = "configmaps", **query: Any) -> Iterator[Iterator[Json]]:
    url = f"{client.cluster.url}/api/v1/namespaces/{client.namespace}/{plural}"
    if plural == "sandboxes":
        url = f"{client.cluster.url}/apis/{GROUP}/v1beta1/namespaces/{client.namespace}/{plural}"
    query = {"watch": "true", "timeoutSeconds": 20, **query}
    with (
        httpx.Client(headers=client.token, trust_env=False, timeout=20) as http,
        http.stream("GET", url, params=query) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
            raise kubernetes.client.ApiException(answer.status_code, answer.text)
        yield (json.loads(line) for line in answer.iter_lines())


def _make(client: Client, name: str, **labels: str) -> str:
    body = {"metadata": {"name": name, "labels": labels}}
    return str(client.core.create_namespaced_config_map(client.namespace, body).metadata.resource_version)


def _told(event: Json) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def test_a_watch_goes_on_where_a_list_ended(client: Client) -> None:
    _make(client, "before")
    seen = client.core.list_namespaced_config_map(client.namespace).metadata.resource_version
    _make(client, "between")
    with _watching(client, resourceVersion=seen) as events:
        assert _told(next(events)) == ("ADDED", "between")
        client.core.patch_namespaced_config_map("before", client.namespace, {"data": {"a": "b"}})
        changed = next(events)
        assert _told(changed) == ("MODIFIED", "before")
        client.core.delete_namespaced_config_map("before", client.namespace)
        gone = next(events)
        assert _told(gone) == ("DELETED", "before")
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(
            changed["object"]["metadata"]["resourceVersion"]
        )


def test_a_watch_without_a_version_begins_with_what_is_there(client: Client) -> None:
    _make(client, "one")
    for version in ({}, {"resourceVersion": "0"}):
        with _watching(client, **version) as events:
            assert _told(next(events)) == ("ADDED", "one")


def test_what_leaves_the_selection_is_deleted_and_comes_back(client: Client) -> None:
    seen = _make(client, "one", a="yes")
    with _watching(client, resourceVersion=seen, labelSelector="a=yes") as events:
        for value, word in (("no", "DELETED"), ("yes", "ADDED"), ("yes", "")):
            client.core.patch_namespaced_config_map("one", client.namespace, {"metadata": {"labels": {"a": value}}})
            if word:
                assert _told(next(events)) == (word, "one")
        _make(client, "other", a="no")
        client.core.delete_namespaced_config_map("one", client.namespace)
        assert _told(next(events)) == ("DELETED", "one"), "nothing of what was not selected"


def test_bookmarks_tell_the_version(client: Client) -> None:
    seen = _make(client, "one")
    client.cluster.world.bookmark_every = 0.02
    later = client.core.create_namespaced_secret(
        client.namespace, {"metadata": {"name": "x"}}
    ).metadata.resource_version
    with _watching(client, resourceVersion=seen, allowWatchBookmarks="true") as events:
        event = next(events)
        assert event["type"] == "BOOKMARK"
        assert event["object"]["kind"] == "ConfigMap"
        assert int(event["object"]["metadata"]["resourceVersion"]) >= int(later)
    client.cluster.world.bookmark_every = 1.0


def test_a_watch_ends_in_time(client: Client) -> None:
    seen = _make(client, "one")
    with _watching(client, resourceVersion=seen, timeoutSeconds=1) as events:
        assert list(events) == []


def test_what_is_compacted_is_gone(client: Client) -> None:
    seen = _make(client, "one")
    with _watching(client, resourceVersion=seen) as events:
        client.cluster.compact()
        event = next(events)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert next(events, None) is None
    with _watching(client, resourceVersion=seen) as events:
        assert next(events)["object"]["code"] == 410
    fresh = client.core.list_namespaced_config_map(client.namespace).metadata.resource_version
    with _watching(client, resourceVersion=fresh) as events:
        _make(client, "two")
        assert _told(next(events)) == ("ADDED", "two")


def test_the_two_ways_of_410(client: Client) -> None:
    seen = _make(client, "one")
    client.cluster.faults.watch_gone = "event"
    with _watching(client, resourceVersion=seen) as events:
        assert next(events)["object"]["code"] == 410
    client.cluster.faults.watch_gone = "status"
    with refused(410, "Expired"), _watching(client, resourceVersion=seen):
        raise AssertionError


def test_a_version_that_nobody_has_seen(client: Client) -> None:
    seen = int(_make(client, "one")) + 10_000
    with _watching(client, resourceVersion=seen) as events:
        assert next(events)["object"]["code"] == 504


def test_watches_are_cut(client: Client) -> None:
    seen = _make(client, "one")
    client.cluster.faults.watch_cut = 0.05
    with (
        pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)),
        _watching(client, resourceVersion=seen) as events,
    ):
        list(events)


def test_the_official_client_watches(client: Client) -> None:
    client.create(sandbox())
    watch: Any = kubernetes.watch.Watch  # it has no types
    watch = watch()
    path = (GROUP, "v1beta1", client.namespace, "sandboxes")
    modes = []
    for event in watch.stream(client.custom.list_namespaced_custom_object, *path, timeout_seconds=30):
        modes.append(event["object"]["spec"]["operatingMode"])
        if len(modes) == 1:
            client.patch("one", {"spec": {"operatingMode": "Suspended"}})
        elif modes[-1] == "Suspended":
            watch.stop()
    assert (modes[0], modes[-1]) == ("Running", "Suspended")


def test_the_version_of_the_path_is_watched(client: Client) -> None:
    client.create(sandbox())
    url = f"{client.cluster.url}/apis/{GROUP}/v1alpha1/sandboxes"
    with (
        httpx.Client(headers=client.token, trust_env=False) as http,
        http.stream(
            "GET", url, params={"watch": "1", "fieldSelector": f"metadata.namespace={client.namespace}"}
        ) as answer,
    ):
        event = json.loads(next(answer.iter_lines()))
    assert event["object"]["apiVersion"] == f"{GROUP}/v1alpha1"
    assert event["object"]["spec"]["replicas"] == 1
