"""Values: the names that are promised, their defaults, and what is said of wrong ones."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.chart.support import CHART, LEAST, NAMESPACE, RELEASE, HelmError, helm, load_all, render

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("helm")

_MISSING: Final = object()
ANY: Final = object()
# The names that are promised, with their defaults where these are, too.
PROMISED: Final[dict[str, Any]] = {
    "image.repository": ANY,
    "image.tag": ANY,
    "opencode.image": ANY,
    "opencode.runtimeClassName": "",
    "opencode.config": ANY,
    "database.url": "",
    "anthropicApiKey": ANY,
    "anthropicBaseUrl": ANY,
    "anthropicAuthToken": ANY,
    "backend": "k8s",
    "baseDomain": ANY,
    "baseScheme": "https",
    "idleTimeout": "30m",
    "persistence.sessionStorageSize": "5Gi",
    "persistence.userDriveSize": "10Gi",
    "persistence.storageClassName": "",
    "workspace.resources": {"limits": {"memory": "1Gi", "cpu": "1"}},
    "sandbox.namespace": ANY,
    "agentSandbox.install": True,
    "ingress.enabled": ANY,
    "ingress.host": ANY,
    "ingress.tls": ANY,
    "ingress.className": ANY,
    "gateway.enabled": ANY,
    "oidc.redirectBaseUrl": ANY,
    **{f"oidc.github.{name}": ANY for name in ("enabled", "clientId", "clientSecret")},
    **{f"oidc.generic.{name}": ANY for name in ("enabled", "issuerUrl", "clientId", "clientSecret")},
}


def defaults() -> dict[str, Any]:
    """``values.yaml``."""
    return load_all((CHART / "values.yaml").read_text())[0]


def at(values: Any, path: str) -> Any:
    """The value at a path with dots."""
    for name in path.split("."):
        values = values.get(name, _MISSING) if isinstance(values, dict) else _MISSING
    return values


@pytest.mark.parametrize("path", PROMISED)
def test_the_promised_values(path: str) -> None:
    found = at(defaults(), path)
    assert found is not _MISSING
    assert PROMISED[path] is ANY or found == PROMISED[path]


def test_the_schema_knows_the_values_and_no_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(part: dict[str, Any], path: str = "") -> Iterator[str]:
        for name, member in part.get("properties", {}).items():
            yield f"{path}{name}"
            if "properties" in member:
                assert member["additionalProperties"] is False, f"{path}{name} would let mistakes pass"
                yield from known(member, f"{path}{name}.")

    found = set(known(schema))
    written = set(_paths(defaults(), found))
    optional = {"global", "workspace.resources.requests"}
    optional |= {f"workspace.resources.{one}" for one in ("requests.memory", "requests.cpu")}
    optional |= {"workspace.resources.limits.ephemeral-storage"}
    assert found - optional == written


def _paths(values: dict[str, Any], known: set[str], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict) and any(one.startswith(f"{path}{name}.") for one in known):
            yield from _paths(value, known, f"{path}{name}.")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ingres": {}}, "additional properties 'ingres' not allowed"),
        ({"ingress": {"classname": "nginx"}}, "at '/ingress': additional properties 'classname' not allowed"),
        ({"backend": "process"}, "at '/backend': value must be one of 'docker', 'k8s'"),
        ({"replicaCount": "3"}, "at '/replicaCount': got string, want integer"),
        ({"baseDomain": "https://agents.example.com"}, "at '/baseDomain': 'https://agents.example.com' does not match"),
        ({"persistence": {"userDriveSize": "10 GB"}}, "at '/persistence/userDriveSize': '10 GB' does not match"),
        ({"idleTimeout": "30 minutes"}, "at '/idleTimeout': '30 minutes' does not match"),
        ({"idleTimeout": 30}, "at '/idleTimeout'"),
        ({"registration": "everybody"}, "at '/registration': value must be one of 'open', 'first-user', 'closed'"),
        ({"trustedProxies": "10.0.0.0/8"}, "at '/trustedProxies': got string, want array"),
        ({"trustedProxies": ["abc"]}, "at '/trustedProxies/0': 'abc' does not match"),
        ({"workspace": {"egressAllow": ["10.20/16"]}}, "at '/workspace/egressAllow/0': '10.20/16' does not match"),
        ({"persistence": {"userDriveAccessMode": "ReadWriteOncePod"}}, "'ReadWriteMany', 'ReadWriteOnce'"),
        ({"sandbox": {"namespace": "x" * 47}}, "at '/sandbox/namespace': maxLength: got 47, want 46"),
        ({"sandbox": {"namespace": "Agents"}}, "at '/sandbox/namespace'"),
        ({"anthropicApiKey": "two words"}, "at '/anthropicApiKey'"),
        ({"oidc": {"generic": {"issuerUrl": "id.example.com"}}}, "at '/oidc/generic/issuerUrl'"),
        ({"workspace": {"resources": {"limits": {"pods": 3}}}}, "additional properties 'pods' not allowed"),
        # What a schema cannot say.
        ({"baseDomain": ""}, "baseDomain is not set. It is the host of the main site"),
        ({"database": {"existingSecret": {"name": ""}}}, "database.url is not set."),
        ({"postgresql": {"enabled": True}}, "postgresql.enabled and database.url"),
        ({"oidc": {"github": {"enabled": True}}}, "oidc.github.enabled needs oidc.github.clientId"),
        ({"oidc": {"generic": {"enabled": True, "clientId": "a"}}}, "oidc.generic.enabled needs"),
        ({"backend": "docker"}, "backend docker needs a way to an engine: docker.socketPath"),
        ({"backend": "docker", "docker": {"host": "tcp://e:2375"}, "replicaCount": 2}, "replicaCount must be 1"),
        ({"preStopSeconds": 60}, "Set it to at least 135."),
        ({"gateway": {"enabled": True}}, "gateway.parentRefs is empty"),
        ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.enabled without metrics.enabled"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_what_is_said_of_wrong_values(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError) as raised:
        render(LEAST | values)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"idleTimeout": 0}, {"idleTimeout": "1h30m"}, {"publicPort": "8443"}, {"replicaCount": 0},
        {"workspace": {"resources": {"limits": {"cpu": 0.5, "memory": "512Mi"}}}},
        {"opencode": {"config": '{"theme": "x"}'}}, {"opencode": {"config": {"theme": "x"}}},
        {"podDisruptionBudget": {"maxUnavailable": "50%"}}, {"global": {"anything": 1}},
        {"ingress": {"enabled": True, "host": "www.agents.example.com", "tls": False}},
        {"ingress": {"enabled": True, "tls": [{"secretName": "a", "hosts": ["agents.example.com"]}]}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_is_taken(values: dict[str, Any]) -> None:
    render(LEAST | values)


def test_tls_as_it_is_given() -> None:
    listed = [{"secretName": "a", "hosts": ["agents.example.com"]}]
    for given, expected in ((False, None), (listed, listed), ([], None)):
        assert (
            render(LEAST | {"ingress": {"enabled": True, "tls": given}}).one("Ingress")["spec"].get("tls") == expected
        )


def test_an_annotation_can_be_taken_away() -> None:
    name = "nginx.ingress.kubernetes.io/proxy-body-size"
    found = render(LEAST | {"ingress": {"enabled": True, "annotations": {name: None}}}).one("Ingress")
    assert name not in found["metadata"]["annotations"]
    assert len(found["metadata"]["annotations"]) == 4


def test_a_password_of_ones_own_is_written_into_the_url() -> None:
    values = {"baseDomain": "agents.example.com", "postgresql": {"enabled": True, "password": "p/w?x@y+z%"}}
    found = render(values).secrets()[f"{RELEASE}-cli-server-postgresql"]
    assert found["password"] == b"p/w?x@y+z%"
    assert b":p%2Fw%3Fx%40y%2Bz%25@" in found["url"]


@pytest.mark.parametrize(
    ("release", "name"), [("team", "team-cli-server"), ("cli-server", "cli-server"), ("my-cli-server", "my-cli-server")]
)
def test_what_things_are_called(release: str, name: str) -> None:
    text = helm("template", release, str(CHART), "--namespace", NAMESPACE, "--show-only", "templates/service.yaml",
                given=LEAST)  # fmt: skip
    assert load_all(text)[0]["metadata"]["name"] == name


def test_the_longest_names_fit() -> None:
    """53 characters is the longest release that helm takes."""
    values = LEAST | {"postgresql": {"enabled": True}, "database": {}}
    text = helm("template", "r" * 53, str(CHART), "--namespace", "n" * 63, given=values)
    for one in load_all(text):
        labels = one["metadata"].get("labels", {})
        assert len(one["metadata"]["name"]) <= (63 if one["kind"] in ("Service", "StatefulSet") else 253)
        assert all(len(value) <= 63 for value in labels.values())


DOCUMENTS: Final = ("docs/kubernetes.md", "charts/cli-server/README.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_values_that_documents_name_exist(document: str) -> None:
    text = (CHART.parents[1] / document).read_text()
    named = re.findall(r"--set ([A-Za-z.]+)=", text)
    named += [
        one
        for one in re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z-]+)+)[=:`]", text)
        if at(defaults(), one.split(".")[0]) is not _MISSING
    ]
    assert named
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in named:
        part = schema
        for name in path.split("."):
            part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            assert name in part["properties"], f"{document} names {path}"
            part = part["properties"][name]


def test_reasons_that_the_document_explains_are_those_that_people_see() -> None:
    text = (CHART.parents[1] / "docs" / "kubernetes.md").read_text()
    told = re.findall(r'^\| "([^"]+)"', text, re.MULTILINE)
    assert len(told) >= 8
    source = "".join(path.read_text() for path in (CHART.parents[1] / "backends").glob("*.py"))
    for reason in told:
        first = " ".join(reason.removesuffix("…").split()[:6])
        assert first in source, f"no sandbox fails with {first!r}"


# NOTES.txt: what helm says after an installation.


def notes(values: dict[str, Any]) -> str:
    """It is written by an installation only; the client's own kind of one asks no cluster."""
    return helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", given=LEAST | values)\
        .partition("NOTES:")[2]  # fmt: skip


def test_notes_say_what_is_left_to_do() -> None:
    found = notes({})
    for words in (
        "rollout status deployment/team-cli-server", "agents.example.com and *.agents.example.com", "DNS challenge",
        "Open https://agents.example.com/ and create an account. The first one is the admin's",
        "Nothing leads to it from outside yet", "Set trustedProxies", "No LLM credentials are set",
        "cli-server doctor", "the secret team-cli-server-key",
    ):  # fmt: skip
        assert words in found


def test_notes_do_not_say_what_is_done() -> None:
    found = notes({
        "ingress": {"enabled": True}, "trustedProxies": ["10.0.0.0/8"], "anthropicApiKey": "k", "publicPort": 8443,
        "secretKey": {"existingSecret": {"name": "k"}}, "registration": "closed", "agentSandbox": {"install": False},
    })  # fmt: skip
    assert "https://agents.example.com:8443/. Registration is closed" in found
    assert "is not installed by this release" in found
    for words in ("Nothing leads to it", "Set trustedProxies", "No LLM credentials", "backup"):
        assert words not in found
