"""The doctor on a Kubernetes cluster: whether it answers, what it has, and what it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backends.base import BackendRejected
from backends.kuberights import everywhere, in_workspaces
from daemon import checks, cluster_checks
from daemon.config import load
from daemon.doctor import CheckFailed, Context
from daemon.start import kubernetes_options, make_backend
from tests.backends.cluster_kind import ACCOUNT, ROLE, SERVER_RULES, SPACE, WORKSPACE_RULES, roles
from tests.standins.kubernetes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends.kuberights import Right


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as made:
        yield made


def context(tmp_path: Path, kubeconfig: Path, **given: str) -> Context:
    settings = {
        "BACKEND": "k8s",
        "DATA_DIR": str(tmp_path / "data"),
        "KUBECONFIG": str(kubeconfig),
        "K8S_SERVER_NAMESPACE": SPACE,
        "K8S_SERVER_LABELS": "app=cli-server",
        "K8S_SERVICE_ACCOUNT": ACCOUNT,
        "K8S_WORKSPACE_ROLE": ROLE,
        "ANTHROPIC_PROXY_URL": "http://cli-server.agents.svc:8080/proxy/anthropic",
    }
    return Context(load(settings | given))


async def failed(asked: Context) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        await checks.check_backend(asked)
    return caught.value


async def test_a_cluster_that_is_well(cluster: Cluster, tmp_path: Path) -> None:
    cluster.storage_class("shared")
    cluster.allow_from(roles())
    asked = context(tmp_path, cluster.account(SPACE, ACCOUNT))
    found = await checks.check_backend(asked)
    assert "Agent Sandbox v1beta1" in found.detail
    assert (found.verdict, "gVisor" in found.remedy) == ("warn", True), "who shares a kernel should know it"
    assert (await cluster_checks.check_rights(asked)).verdict == "ok"
    cluster.runtime_class("gvisor")
    isolated = context(tmp_path, cluster.account(SPACE, ACCOUNT), AGENT_RUNTIME="gvisor")
    assert (await checks.check_backend(isolated)).verdict == "ok"
    assert make_backend(isolated.settings, "i" * 16).name == "k8s"


async def test_a_cluster_that_does_not_answer(cluster: Cluster, tmp_path: Path) -> None:
    cluster.away()
    asked = context(tmp_path, cluster.kubeconfig)
    assert str(cluster.kubeconfig) in (await failed(asked)).remedy
    assert (await cluster_checks.check_rights(asked)).verdict == "warn"
    cluster.back()


async def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    said = await failed(context(tmp_path, tmp_path / "none"))
    assert f"KUBECONFIG {tmp_path / 'none'}" in said.remedy
    (tmp_path / "words").write_text("just words")
    assert "KUBECONFIG" in (await failed(context(tmp_path, tmp_path / "words"))).remedy


@pytest.mark.parametrize("content", [None, "", "just words", "apiVersion: v1\nkind: Config\n"])
async def test_the_start_does_not_go_on_with_a_kubeconfig_that_is_none(tmp_path: Path, content: str | None) -> None:
    """One line that names it, with the doctor's words; a cluster that is away is no reason."""
    given = tmp_path / "given"
    if content is not None:
        given.write_text(content)
    backend = make_backend(context(tmp_path, given).settings, "i" * 16)
    with pytest.raises(BackendRejected) as caught:
        async with backend.serve():
            pass
    assert str(caught.value).startswith(f"KUBECONFIG {given} cannot be used (")
    assert str(caught.value).endswith("; accepted is a file as kubectl has it")
    assert "\n" not in str(caught.value)


async def test_outside_of_a_cluster_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    asked = context(tmp_path, tmp_path / "none", KUBECONFIG="")
    assert "service account" in (await failed(asked)).remedy


async def test_a_cluster_without_what_is_wanted(tmp_path: Path) -> None:
    with Cluster(tmp_path / "bare", release="") as bare:
        assert "no Agent Sandbox" in (await failed(context(tmp_path, bare.kubeconfig))).remedy
    with Cluster(tmp_path / "whole") as whole:
        assert "K8S_STORAGE_CLASS" in (await failed(context(tmp_path, whole.kubeconfig))).remedy
        whole.storage_class("shared")
        asked = context(tmp_path, whole.kubeconfig, AGENT_RUNTIME="gvisor")
        assert "no runtime class gvisor" in (await failed(asked)).remedy


async def test_rights_that_are_missing(cluster: Cluster, tmp_path: Path) -> None:
    """Each that the server needs is asked for, and the first ones are named."""
    asked = context(tmp_path, cluster.account(SPACE, ACCOUNT))
    with pytest.raises(CheckFailed, match=r"get namespaces, create namespaces, .* and \d+ more") as caught:
        await cluster_checks.check_rights(asked)
    assert "ClusterRoles" in caught.value.remedy
    cluster.allow_from(roles())
    assert (await cluster_checks.check_rights(asked)).verdict == "ok"
    alone = context(tmp_path, cluster.account(SPACE, ACCOUNT), K8S_SERVICE_ACCOUNT="", K8S_WORKSPACE_ROLE="")
    with pytest.raises(CheckFailed, match="create sandboxes"):
        await cluster_checks.check_rights(alone)


def test_the_rights_that_are_asked_for_are_those_that_the_backend_is_tested_with(tmp_path: Path) -> None:
    """No more and no less: those of the tests are enough for the whole contract."""
    options = kubernetes_options(context(tmp_path, tmp_path, AGENT_RUNTIME="gvisor").settings)

    def flat(rights: list[Right]) -> set[tuple[str, str, str]]:
        whole = ((right.resource + (f"/{right.part}" if right.part else ""), right) for right in rights)
        return {(right.verb, right.group, resource) for resource, right in whole}

    def given(rules: list[dict[str, list[str]]]) -> set[tuple[str, str, str]]:
        return {
            (v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]
        }

    assert flat(everywhere(options)) == given(SERVER_RULES)
    assert flat(in_workspaces()) == given(WORKSPACE_RULES)
