"""What the chart tells the server is what the server takes, and nothing secret of it is there to be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from daemon.config import SETTINGS, Endpoint, Settings, load
from daemon.secret import read_keyring
from tests.chart.support import LEAST, NAMESPACE, RELEASE, cases, render

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.support import Rendered

pytestmark = pytest.mark.needs("helm")

MOUNT: Final = "/run/secrets/cli-server/"
# Settings without a value of the chart, each with the reason. extraEnv can set them.
LEFT_OUT: Final = {
    "KUBECONFIG": "the pod's service account is how the cluster is reached",
    "OPENCODE_BIN": "of the backend process, which is for one machine",
    "AGENT_PIDS_LIMIT": "a pod cannot set it: the nodes' kubelets do",
    "AGENT_NETWORKS": "of the backend docker, where its default is as good as any",
}
# What stands in the files of secrets that the operator has made.
SAMPLES: Final = {
    "database-url": "postgresql://cli-server:words@db.example.com:5432/cli-server",
    "opencode-config": '{"model": "anthropic/claude"}',
    "secret.key": "k" * 32,
}


def mounted(rendered: Rendered, folder: Path) -> Path:
    """The files that the server finds: from the chart's secrets, or samples for the operator's own."""
    (volume,) = [one for one in rendered.one("Deployment")["spec"]["template"]["spec"]["volumes"] if "projected" in one]
    secrets = rendered.secrets()
    for source in volume["projected"]["sources"]:
        (item,) = source["secret"]["items"]
        name, sample = source["secret"]["name"], SAMPLES.get(item["path"], "sample")
        # One of ours that has not this key would keep the pod from starting.
        value = secrets[name][item["key"]] if name in secrets else sample.encode()
        (folder / item["path"]).write_bytes(value)
    return folder


def settings(rendered: Rendered, folder: Path) -> Settings:
    """What the server makes of its variables, with its files in another folder."""
    mounted(rendered, folder)
    address = "fd00::7" if rendered.given.get("ipv6") else "10.0.0.7"
    environ = {name: value.replace("$(POD_IP)", address) for name, value in rendered.env.items()}
    return load({name: re.sub(f"^{MOUNT}", f"{folder}/", value) for name, value in environ.items()})


def test_the_server_starts_with_it(case: Rendered, tmp_path: Path) -> None:
    found = settings(case, tmp_path)
    assert found.backend in ("k8s", "docker")
    assert found.database_url
    assert found.secret_key_file is not None
    read_keyring(found.secret_key_file)
    assert {name for name in case.env if name.endswith("_FILE") and not name.startswith("SSL_")} == {
        name for name, value in case.env.items() if value.startswith(MOUNT)
    }


def test_the_names_are_those_of_the_code(all_rendered: dict[str, Rendered]) -> None:
    """Style: the names in code, docs and chart are the same set."""
    known = {setting.variable for setting in SETTINGS} | {one.file_variable for one in SETTINGS if one.secret}
    used = {name for one in all_rendered.values() for name in one.env}
    extra = {one["name"] for values in cases().values() for one in values.get("extraEnv", ())}
    assert used - extra <= known
    for setting in SETTINGS:
        told = setting.variable in used or setting.file_variable in used
        assert told or setting.variable in EMPTY or setting.variable in LEFT_OUT, f"no value sets {setting.variable}"
    assert not LEFT_OUT.keys() & used


# Settings that no set of the README has, the value of the chart, and what it is set to here.
EMPTY: Final = {
    "SECURITY_CONTACT": ("securityContact", "mailto:security@example.com"),
    "GITHUB_URL": ("oidc.github.url", "https://git.example.com"),
    "GITHUB_API_URL": ("oidc.github.apiUrl", "https://git.example.com/v3"),
    "OIDC_GROUPS_CLAIM": ("oidc.generic.groupsClaim", "roles"),
}


def test_values_that_no_set_has() -> None:
    given = [f"--set={path}={value}" for path, value in EMPTY.values()]
    found = render(cases()["sign-in"], *given)
    assert {name: found.env[name] for name in EMPTY} == {name: value for name, (_, value) in EMPTY.items()}


def test_the_settings_of_a_plain_installation(all_rendered: dict[str, Rendered], tmp_path: Path) -> None:
    rendered = all_rendered["all-in-one"]
    found = settings(rendered, tmp_path)
    assert found.main_origin == "https://agents.example.com"
    assert found.anthropic_proxy_url == f"http://{RELEASE}-cli-server.{NAMESPACE}.svc:8082/proxy/anthropic"
    assert found.agent_listen == Endpoint("", 8082)
    assert (found.k8s_namespace_prefix, found.k8s_server_namespace) == (f"{RELEASE}-cli-server", NAMESPACE)
    # Sandboxes let in whoever has these labels in this namespace.
    assert found.k8s_server_labels == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert (found.agent_memory_limit, found.agent_cpu_limit) == (2**30, 1)
    assert (found.k8s_home_size, found.k8s_disk_size) == (5 * 2**30, 10 * 2**30)
    assert found.replica_url == "http://10.0.0.7:8081"
    assert found.k8s_service_account == rendered.one("ServiceAccount")["metadata"]["name"]
    url = found.database_url or ""
    assert re.fullmatch(
        rf"postgresql://cli-server:\w{{32}}@{RELEASE}-cli-server-postgresql.{NAMESPACE}.svc:5432/cli-server", url
    )
    assert rendered.secrets()[f"{RELEASE}-cli-server-postgresql"]["password"].decode() in url


def test_an_address_of_ipv6_stands_in_brackets(all_rendered: dict[str, Rendered]) -> None:
    assert all_rendered["ipv6"].env["REPLICA_URL"] == "http://[$(POD_IP)]:8081"


def test_what_sandboxes_get(all_rendered: dict[str, Rendered], tmp_path: Path) -> None:
    found = settings(all_rendered["gvisor"], tmp_path)
    assert found.agent_runtime == "gvisor"
    assert (found.agent_memory_limit, found.agent_cpu_limit, found.k8s_ephemeral_limit) == (2**32, 2, 2**33)
    assert (found.k8s_memory_request, found.k8s_cpu_request) == (2**30, 0.5)
    assert found.k8s_node_selector == {"pool": "sandboxes"}
    assert found.k8s_tolerations == ({"key": "sandboxes", "operator": "Exists", "effect": "NoSchedule"},)
    assert found.opencode_config_content == '{"permission":{"bash":"ask"}}'


def test_variables_come_in_their_order(case: Rendered) -> None:
    """POD_IP is written into REPLICA_URL only if it stands before it."""
    names = [one["name"] for one in case.container["env"]]
    assert "POD_IP" not in names or names.index("POD_IP") < names.index("REPLICA_URL")
    assert len(names) == len(set(names))


SECRET_VALUES: Final = {
    "database": {"url": "postgresql://cli-server:hidden-1@db.example.com/x"},
    "anthropicApiKey": "hidden-2",
    "anthropicAuthToken": "hidden-3",
    "opencode": {"config": {"provider": {"other": {"options": {"apiKey": "hidden-4"}}}}},
    "oidc": {
        "github": {"enabled": True, "clientId": "id", "clientSecret": "hidden-5"},
        "generic": {"enabled": True, "issuerUrl": "https://id.example.com", "clientId": "id",
                    "clientSecret": "hidden-6"},
    },
}  # fmt: skip


def test_secrets_stand_in_secrets_only(tmp_path: Path) -> None:
    rendered = render({"baseDomain": "agents.example.com"} | SECRET_VALUES)
    assert "hidden" not in rendered.text
    found = "".join(value.decode("latin-1") for secret in rendered.secrets().values() for value in secret.values())
    assert {*re.findall(r"hidden-\d", found)} == {f"hidden-{number}" for number in range(1, 7)}
    assert sorted(value[-8:] for value in settings(rendered, tmp_path).secrets if value.startswith("hidden-")) == [
        f"hidden-{number}" for number in (1, 2, 3, 5, 6)
    ]


def test_no_secret_setting_is_a_plain_variable(case: Rendered) -> None:
    assert not {setting.variable for setting in SETTINGS if setting.secret} & case.env.keys()
    assert not case.kinds("ConfigMap")


def test_another_credential_makes_other_pods() -> None:
    """Credentials are read once, at the start."""

    def mark(key: str) -> str:
        template = render(LEAST | {"anthropicApiKey": key}).one("Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/credentials"])

    assert mark("one") == mark("one") != mark("another")
