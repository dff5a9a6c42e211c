"""Every setting: how it is written, what it defaults to, and the one line that a bad one gets."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import SETTINGS, ConfigError, Endpoint, Setting, Settings, load


def test_with_no_setting_at_all_it_runs_on_this_machine_alone() -> None:
    settings = load({})
    assert settings.listen == Endpoint("127.0.0.1", 8080)
    assert settings.data_dir == Path.home() / ".local/share/cli-server"
    assert settings.database_url is None
    assert settings.backend == "process"
    assert settings.main_origin == "http://localhost:8080"
    assert settings.host_origin("oc-a") == "http://oc-a.localhost:8080"
    assert settings.idle_timeout == 1800
    assert settings.busy_limit == 12 * 3600
    assert settings.anthropic_base_url == "https://api.anthropic.com"
    assert settings.anthropic_proxy_url is None
    assert settings.opencode_bin == "opencode"
    assert settings.registration == "first-user"
    assert settings.trusted_proxies == ()
    assert settings.metrics_listen == Endpoint("127.0.0.1", 9464)
    assert (settings.agent_memory_limit, settings.agent_cpu_limit, settings.agent_pids_limit) == (2 * 2**30, 2.0, 512)
    assert (settings.log_level, settings.log_format) == ("info", "json")
    assert load({}, terminal=True).log_format == "console"


def test_the_table_and_the_settings_have_the_same_names() -> None:
    assert [setting.field for setting in SETTINGS] == [field.name for field in dataclasses.fields(Settings)]


GOOD = [
    ("LISTEN", "0.0.0.0:80", Endpoint("0.0.0.0", 80)),
    ("LISTEN", "[::1]:8080", Endpoint("::1", 8080)),
    ("LISTEN", ":8080", Endpoint("", 8080)),
    ("LISTEN", "127.0.0.1:0", Endpoint("127.0.0.1", 0)),
    ("LISTEN", "my-host.lan:8080", Endpoint("my-host.lan", 8080)),
    ("DATA_DIR", "/var/lib/x", Path("/var/lib/x")),
    ("DATA_DIR", "~/x", Path.home() / "x"),
    ("DATA_DIR", "relative", Path.cwd() / "relative"),
    ("DATABASE_URL", "postgresql://u:p@h:5432/d?sslmode=require", "postgresql://u:p@h:5432/d?sslmode=require"),
    ("DATABASE_URL", "host=/run/postgresql dbname=x", "host=/run/postgresql dbname=x"),
    ("BACKEND", "docker", "docker"),
    ("DOCKER_HOST", "unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
    ("DOCKER_HOST", "tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
    ("AGENT_EGRESS", "proxy", "proxy"),
    ("AGENT_RUNTIME", "runsc", "runsc"),
    ("AGENT_LISTEN", ":8082", Endpoint("", 8082)),
    ("AGENT_NETWORKS", "10.64.0.0/12", IPv4Network("10.64.0.0/12")),
    ("KUBECONFIG", "/etc/cluster.yaml", Path("/etc/cluster.yaml")),
    ("K8S_NAMESPACE_PREFIX", "team-a", "team-a"),
    ("K8S_SERVER_NAMESPACE", "agents", "agents"),
    ("K8S_SERVER_LABELS", "app.kubernetes.io/name=x, tier=", {"app.kubernetes.io/name": "x", "tier": ""}),
    ("K8S_SERVICE_ACCOUNT", "cli-server", "cli-server"),
    ("K8S_WORKSPACE_ROLE", "cli-server-workspace", "cli-server-workspace"),
    ("K8S_STORAGE_CLASS", "fast.nfs", "fast.nfs"),
    ("K8S_HOME_SIZE", "1Gi", 2**30),
    ("K8S_DISK_SIZE", "20Gi", 20 * 2**30),
    ("K8S_DISK_ACCESS_MODE", "ReadWriteOnce", "ReadWriteOnce"),
    ("K8S_EPHEMERAL_LIMIT", "1Gi", 2**30),
    ("K8S_CPU_REQUEST", "1", 1.0),
    ("K8S_MEMORY_REQUEST", "1Gi", 2**30),
    ("K8S_EGRESS_ALLOW", "10.1.0.0/16,fd00::/8", (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))),
    ("K8S_NODE_SELECTOR", "disktype=ssd", {"disktype": "ssd"}),
    ("K8S_TOLERATIONS", '[{"key": "agents", "operator": "Exists"}]', ({"key": "agents", "operator": "Exists"},)),
    ("BASE_DOMAIN", "Agents.Example.COM", "agents.example.com"),
    ("BASE_DOMAIN", "agents.example.com.", "agents.example.com"),
    ("BASE_SCHEME", "https", "https"),
    ("PUBLIC_PORT", "8443", 8443),
    ("IDLE_TIMEOUT", "30m", 1800.0),
    ("IDLE_TIMEOUT", "90s", 90.0),
    ("IDLE_TIMEOUT", "2h", 7200.0),
    ("IDLE_TIMEOUT", "1d", 86400.0),
    ("IDLE_TIMEOUT", "1h30m", 5400.0),
    ("IDLE_TIMEOUT", "0.5s", 0.5),
    ("IDLE_TIMEOUT", "0", 0.0),
    ("BUSY_LIMIT", "0", 0.0),
    ("ANTHROPIC_API_KEY", "sk-ant-1", "sk-ant-1"),
    ("ANTHROPIC_API_KEY", "sk-ant-1\n", "sk-ant-1"),  # read from a file with a final line break
    ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/v/", "http://127.0.0.1:9/v"),
    ("ANTHROPIC_BASE_URL", "https://Gateway.example/anthropic", "https://gateway.example/anthropic"),
    ("ANTHROPIC_PROXY_URL", "http://[::1]:8080/proxy/anthropic", "http://[::1]:8080/proxy/anthropic"),
    ("AGENT_IMAGE", "registry.example:5000/a/b@sha256:00", "registry.example:5000/a/b@sha256:00"),
    ("OPENCODE_BIN", "/opt/my tools/opencode", "/opt/my tools/opencode"),
    ("OPENCODE_CONFIG_CONTENT", '{"a": 1}', '{"a": 1}'),
    ("OIDC_REDIRECT_BASE_URL", "https://a.example/", "https://a.example"),
    ("GITHUB_ALLOWED_ORGS", "Acme, acme-labs", ("acme", "acme-labs")),
    ("GITHUB_URL", "https://GitHub.acme.example/", "https://github.acme.example"),
    ("GITHUB_API_URL", "http://127.0.0.1:9/api", "http://127.0.0.1:9/api"),
    ("OIDC_ISSUER_URL", "https://id.example/realms/acme/", "https://id.example/realms/acme"),
    ("OIDC_ISSUER_URL", "http://localhost:9", "http://localhost:9"),
    ("OIDC_ISSUER_URL", "http://[::1]:9", "http://[::1]:9"),
    ("OIDC_NAME", "Acme’s sign-in", "Acme’s sign-in"),
    ("OIDC_SCOPES", "openid groups", "openid groups"),
    ("OIDC_ALLOWED_DOMAINS", "Example.com,example.org", ("example.com", "example.org")),
    ("OIDC_ADMIN_GROUP", "/admins of all", "/admins of all"),
    ("OIDC_GROUPS_CLAIM", "https://acme.example/groups", "https://acme.example/groups"),
    ("REGISTRATION", "closed", "closed"),
    ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    ("METRICS_LISTEN", "off", None),
    ("METRICS_LISTEN", ":9464", Endpoint("", 9464)),
    ("AGENT_MEMORY_LIMIT", "512Mi", 512 * 2**20),
    ("AGENT_MEMORY_LIMIT", "1.5Gi", 3 * 2**29),
    ("AGENT_MEMORY_LIMIT", "1G", 10**9),
    ("AGENT_MEMORY_LIMIT", "1073741824", 2**30),
    ("AGENT_CPU_LIMIT", "0.5", 0.5),
    ("AGENT_CPU_LIMIT", "500m", 0.5),
    ("AGENT_PIDS_LIMIT", "100", 100),
    ("LOG_LEVEL", "debug", "debug"),
    ("LOG_FORMAT", "console", "console"),
    ("AUDIT_RETENTION", "1d", 86400.0),
    ("AUDIT_RETENTION", "3650d", 3650 * 86400.0),
    ("AUDIT_RETENTION", "0", 0.0),
    ("SECURITY_CONTACT", "mailto:security@example.com", "mailto:security@example.com"),
    ("SECURITY_CONTACT", "https://example.com/security?report#now", "https://example.com/security?report#now"),
]


# What a setting that says more about a sign-in needs beside it.
BESIDE = {
    "AGENT_LISTEN": {"ANTHROPIC_PROXY_URL": "http://h:8082/proxy/anthropic"},
    "GITHUB": {"GITHUB_CLIENT_ID": "i", "GITHUB_CLIENT_SECRET": "s"},
    "OIDC": {"OIDC_ISSUER_URL": "https://id.example", "OIDC_CLIENT_ID": "i", "OIDC_CLIENT_SECRET": "s"},
    "K8S": {"K8S_SERVICE_ACCOUNT": "a", "K8S_WORKSPACE_ROLE": "r"},
}


@pytest.mark.parametrize(("variable", "text", "value"), GOOD)
def test_a_good_value(variable: str, text: str, value: object) -> None:
    beside = BESIDE.get(variable, BESIDE.get(variable.partition("_")[0], {}))
    assert getattr(load(beside | {variable: text}), variable.lower()) == value
    assert getattr(load(beside, {variable: text}), variable.lower()) == value


WRONG = {
    "LISTEN": (
        "8080", "localhost", "host:", "host:x", "::1:80", "[::1]", "h:65536", "a b:80", "[localhost]:80",
        "http://localhost:8080", "256.1.1.1:80", "-x:80",
    ),
    "DATABASE_URL": (
        "nonsense", "mysql://u:p@h/d?x=y", "postgresql://h:port/d", "postgresql://h:99999/d", "http://h/d",
        "postgresql://h/d?nope=1", "postgresql://u:p@ss:w/x@h/d", "postgresql://u:p@ss@h/d",
    ),
    "BACKEND": ("Docker", "kubernetes", "process,docker"),
    "DOCKER_HOST": ("unix://x", "/var/run/docker.sock", "tcp://h", "tcp://h:1/x", "ssh://u@h:22", "http://h:1", "npipe://"),
    "AGENT_EGRESS": ("closed", "Open", "open,proxy"),
    "AGENT_RUNTIME": ("-x", "a b", "a/b", "x" * 64),
    "AGENT_NETWORKS": ("10.0.0.0/27", "10.0.0.1/16", "fd00::/16", "10.0.0.0/16,10.1.0.0/16", "x", "127.0.0.0/8",
        "0.0.0.0/0", "0.0.0.0/8", "8.8.0.0/16", "169.254.0.0/16", "224.0.0.0/8"),
    "K8S_NAMESPACE_PREFIX": ("Team", "1a", "a.b", "a-", "-a", "a" * 47, "a b"),
    "K8S_SERVER_NAMESPACE": ("A", "a b", "-a", "a/b", "a" * 254),
    "K8S_SERVER_LABELS": ("app", "app=x,", "=x", "app=x y", "a/b/c=x", "app=" + "x" * 64, "app=x,app=y", "-a=x"),
    "K8S_SERVICE_ACCOUNT": ("A",),
    "K8S_WORKSPACE_ROLE": ("a:b",),
    "K8S_STORAGE_CLASS": ("a b",),
    "K8S_HOME_SIZE": ("5 Gi", "0", "x"),
    "K8S_DISK_SIZE": ("-1", "1Ki"),
    "K8S_DISK_ACCESS_MODE": ("ReadWriteOncePod", "ReadOnlyMany", "rwx"),
    "K8S_EPHEMERAL_LIMIT": ("1Mi",),
    "K8S_CPU_REQUEST": ("0", "x"),
    "K8S_MEMORY_REQUEST": ("1",),
    "K8S_EGRESS_ALLOW": ("10.0.0.1/8", "x"),
    "K8S_NODE_SELECTOR": ("disktype", "disktype:ssd"),
    "K8S_TOLERATIONS": ("x", "{}", "[1]", "[" * 100_000),
    "BASE_DOMAIN": (
        "a:80", "http://a", "127.0.0.1", "[::1]", "::1", "a_b", "-a", "a..b", "*.a", "a/b", "münchen.example", "a.1",
        ".a", "a b", "x" * 64, "a." * 116 + "a",
    ),
    "BASE_SCHEME": ("HTTP", "ftp", "https://"),
    "PUBLIC_PORT": ("0", "65536", "-1", "+1", "0x50", "８０", "9" * 30),
    "IDLE_TIMEOUT": ("30", "m", "-1m", "30 m", "1w", "30M", "inf", "nan", "1e3s", "400d"),
    "BUSY_LIMIT": ("never", "-0"),
    "ANTHROPIC_API_KEY": ("a b", "a\nb", "ключ", "a\x00b"),
    "ANTHROPIC_BASE_URL": (
        "api.anthropic.com", "ftp://a", "http://", "http://a?b", "http://a#", "http://u:hunter2@a", "http://a b",
        "http://a:x", "http://[::1", "http://a:0", "http://a:70000", "http://a\\b", "//a", "http://a_b/",
    ),
    "AGENT_IMAGE": ("-x", "a b", "a;b"),
    "OPENCODE_BIN": ("a\nb", "a\x1b[0m"),
    "OPENCODE_CONFIG_CONTENT": ("{", "[]", "1", "null", "[" * 100_000),
    "OIDC_REDIRECT_BASE_URL": ("https://a/b", "a"),
    "GITHUB_ALLOWED_ORGS": ("a b", "acme/x", "acme,,x", "-acme", "x" * 40),
    "GITHUB_URL": ("http://github.acme.example", "github.com", "https://u:hunter2@github.com"),
    "GITHUB_API_URL": ("http://api.github.com", "http://10.0.0.1/api"),
    "OIDC_ISSUER_URL": ("http://id.example", "id.example", "http://notlocalhost", "http://127.0.0.1.example"),
    "OIDC_NAME": ("a\nb",),
    "OIDC_SCOPES": ("profile", "openid  email", "openid\tx", 'openid \\'),
    "OIDC_ALLOWED_DOMAINS": ("@example.com", "example", "a.example;b.example", "*.example.com", "a.example,"),
    "OIDC_ADMIN_GROUP": ("a\nb",),
    "OIDC_GROUPS_CLAIM": ("\x1b",),
    "REGISTRATION": ("yes", "first"),
    "TRUSTED_PROXIES": ("10.0.0.1/8", "example.com", "10.0.0.0/33", "10.0.0.0/8 10.1.0.0/16"),
    "METRICS_LISTEN": ("no", "9464", "OFF"),
    "AGENT_MEMORY_LIMIT": ("2GB", "lots", "-1", "1", "127Mi", "2 Gi", "9" * 400),
    "AGENT_CPU_LIMIT": ("0", "-1", "two", "5000", "1.5m", "inf"),
    "AGENT_PIDS_LIMIT": ("0", "1.5", "many", "5000000"),
    "AUDIT_RETENTION": ("23h", "0.5d", "0d", "4000d", "365", "for ever"),
    "SECURITY_CONTACT": (
        "security@example.com", "mailto:security", "mailto:a@b.example\nExpires: never", "http://example.com", "tel:+1",
        "https://a b.example", "https://example.com/ü", "mailto:a@b.example?subject=x",
    ),
    "LOG_LEVEL": ("INFO", "verbose"),
    "LOG_FORMAT": ("text",),
}  # fmt: skip
BAD = [(variable, text) for variable, texts in WRONG.items() for text in texts]


@pytest.mark.parametrize(("variable", "text"), BAD, ids=[f"{variable}={text[:20]!r}" for variable, text in BAD])
def test_a_bad_value_stops_with_one_line_that_names_variable_value_and_what_is_accepted(
    variable: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load({variable: text})
    line = str(caught.value)
    setting = next(setting for setting in SETTINGS if setting.variable == variable)
    assert line.startswith(variable + " ")
    assert line.endswith(setting.accepted)
    assert line.isprintable()
    assert len(line) < 500
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hunter2" not in line
    if setting.secret:
        assert text not in line
    elif text.isprintable() and "@" not in text:
        assert text[:100] in line.replace("\\\\", "\\")


def test_a_proxy_among_the_sandboxes_is_refused() -> None:
    """It would get no page, and not be believed: a sandbox could else say where it comes from."""
    given = {"BACKEND": "docker", "AGENT_NETWORKS": "10.213.0.0/16"}
    with pytest.raises(ConfigError, match=r"TRUSTED_PROXIES 10\.213\.4\.1/32 .*AGENT_NETWORKS 10\.213\.0\.0/16"):
        load(given | {"TRUSTED_PROXIES": "127.0.0.1/32,10.213.4.1/32"})
    for proxies in ("10.0.0.0/8", "::1/128", "10.214.0.1/32"):  # a wider one may have a proxy beside the sandboxes
        assert load(given | {"TRUSTED_PROXIES": proxies}).trusted_proxies
    assert load(given | {"BACKEND": "process", "TRUSTED_PROXIES": "10.213.4.1/32"}).trusted_proxies


CLUSTER = {
    "BACKEND": "k8s",
    "K8S_SERVER_NAMESPACE": "agents",
    "K8S_SERVER_LABELS": "app.kubernetes.io/name=cli-server",
    "ANTHROPIC_PROXY_URL": "http://cli-server.agents.svc:8080/proxy/anthropic",
}


@pytest.mark.parametrize("left_out", ["K8S_SERVER_NAMESPACE", "K8S_SERVER_LABELS", "ANTHROPIC_PROXY_URL"])
def test_a_cluster_does_not_tell_who_this_server_is_in_it(left_out: str) -> None:
    assert load(CLUSTER).backend == "k8s"
    with pytest.raises(ConfigError, match=f"^{left_out} is unset while BACKEND is k8s"):
        load({name: text for name, text in CLUSTER.items() if name != left_out})


def test_a_toleration_with_a_slip_in_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="a toleration has no keys"):
        load({"K8S_TOLERATIONS": '[{"keys": "agents"}]'})


@pytest.mark.parametrize("left_out", ["K8S_SERVICE_ACCOUNT", "K8S_WORKSPACE_ROLE"])
def test_half_a_binding_of_rights_is_refused(left_out: str) -> None:
    both = {"K8S_SERVICE_ACCOUNT": "a", "K8S_WORKSPACE_ROLE": "r"}
    with pytest.raises(ConfigError, match=f"^{left_out} is unset while"):
        load(CLUSTER | {name: text for name, text in both.items() if name != left_out})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_an_empty_value_means_unset(setting: Setting) -> None:
    variable = setting.variable
    assert load({variable: ""}) == load({variable: "  "}) == load({})


def test_flags_override_the_environment() -> None:
    settings = load({"BASE_DOMAIN": "a.example", "LISTEN": ":1"}, {"BASE_DOMAIN": "b.example"})
    assert (settings.base_domain, settings.listen.port) == ("b.example", 1)
    assert load({"BASE_DOMAIN": "a.example"}, {"BASE_DOMAIN": ""}).base_domain == "localhost"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "http://localhost:8080"),
        ({"LISTEN": ":9000"}, "http://localhost:9000"),
        ({"LISTEN": ":80"}, "http://localhost"),
        ({"LISTEN": ":443", "BASE_SCHEME": "https"}, "https://localhost"),
        ({"LISTEN": ":80", "BASE_SCHEME": "https"}, "https://localhost:80"),
        ({"BASE_DOMAIN": "team.localhost"}, "http://team.localhost:8080"),
        ({"BASE_DOMAIN": "localhost", "PUBLIC_PORT": "81"}, "http://localhost:81"),
        ({"BASE_DOMAIN": "a.example"}, "https://a.example"),
        ({"BASE_DOMAIN": "a.example", "PUBLIC_PORT": "443"}, "https://a.example"),
        ({"BASE_DOMAIN": "a.example", "PUBLIC_PORT": "8443"}, "https://a.example:8443"),
        ({"BASE_DOMAIN": "a.example", "BASE_SCHEME": "http"}, "http://a.example"),
        ({"BASE_DOMAIN": "a.example", "BASE_SCHEME": "http", "PUBLIC_PORT": "443"}, "http://a.example:443"),
        ({"BASE_DOMAIN": "notlocalhost"}, "https://notlocalhost"),
    ],
)
def test_derived_defaults(given: dict[str, str], origin: str) -> None:
    settings = load(given)
    assert settings.main_origin == origin
    assert settings.secure == origin.startswith("https")
    assert settings.listening_at(settings.listen) == settings


@pytest.mark.parametrize(
    ("given", "port", "origin"),
    [
        ({"LISTEN": "127.0.0.1:0"}, 1234, "http://localhost:1234"),
        ({"LISTEN": "127.0.0.1:0", "BASE_DOMAIN": "a.example"}, 1234, "https://a.example"),
        ({}, 9000, "http://localhost:9000"),
        ({}, 80, "http://localhost"),
        ({"LISTEN": ":80"}, 9000, "http://localhost:9000"),
        ({"PUBLIC_PORT": "81"}, 9000, "http://localhost:81"),
        ({"BASE_DOMAIN": "a.example", "PUBLIC_PORT": "8080"}, 9000, "https://a.example:8080"),
        ({"BASE_DOMAIN": "a.example"}, 9000, "https://a.example"),
    ],
)
def test_a_port_that_is_known_late_is_filled_in_where_it_is_the_listeners(
    given: dict[str, str], port: int, origin: str
) -> None:
    """The system chose it for port 0, or a service manager opened the socket."""
    settings = load(given).listening_at(Endpoint("127.0.0.1", port))
    assert (settings.listen.port, settings.main_origin) == (port, origin)


@pytest.mark.parametrize(
    "left_out", ["GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "OIDC_CLIENT_SECRET", "OIDC_ISSUER_URL"]
)
def test_half_a_sign_in_is_refused(left_out: str) -> None:
    whole = {
        "GITHUB_CLIENT_ID": "i",
        "GITHUB_CLIENT_SECRET": "s3cret",
        "OIDC_ISSUER_URL": "https://id.example",
        "OIDC_CLIENT_ID": "i",
        "OIDC_CLIENT_SECRET": "s3cret",
    }
    assert load(whole).github_client_secret == "s3cret"
    del whole[left_out]
    with pytest.raises(ConfigError, match=f"^{left_out} is unset while") as caught:
        load(whole)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "variable",
    [
        "GITHUB_ALLOWED_ORGS", "GITHUB_URL", "GITHUB_API_URL",
        "OIDC_NAME", "OIDC_SCOPES", "OIDC_ALLOWED_DOMAINS", "OIDC_ADMIN_GROUP", "OIDC_GROUPS_CLAIM",
    ],
)  # fmt: skip
def test_what_says_more_about_a_sign_in_that_is_not_set_up_is_refused(variable: str) -> None:
    """It would be ignored without a word: an operator would believe that only the own domain comes in."""
    text = next(text for name, text, _ in GOOD if name == variable)
    with pytest.raises(ConfigError, match=f"^{variable} is set while "):
        load({variable: text})


@pytest.mark.parametrize(
    ("given", "api"),
    [
        ({}, "https://api.github.com"),
        ({"GITHUB_URL": "https://git.acme.example"}, "https://git.acme.example/api/v3"),
        ({"GITHUB_URL": "https://git.acme.example", "GITHUB_API_URL": "https://x.example"}, "https://x.example"),
    ],
)
def test_where_the_api_of_github_is(given: dict[str, str], api: str) -> None:
    assert load(BESIDE["GITHUB"] | given).github_api_url == api


def test_what_the_button_is_called() -> None:
    assert load(BESIDE["OIDC"]).oidc_name == "id.example"
    assert load(BESIDE["OIDC"] | {"OIDC_NAME": "Acme"}).oidc_name == "Acme"


def test_no_secret_is_in_the_representation() -> None:
    secrets = {setting.variable: "s3cret" for setting in SETTINGS if setting.secret}
    secrets |= {"DATABASE_URL": "postgresql://u:s3cret@h/d", "OPENCODE_CONFIG_CONTENT": '{"key": "s3cret"}'}
    secrets |= {"GITHUB_CLIENT_ID": "i", "OIDC_CLIENT_ID": "i", "OIDC_ISSUER_URL": "https://id.example"}
    settings = load(secrets)
    assert "s3cret" not in repr(settings)
    values = [secrets[setting.variable] for setting in SETTINGS if setting.secret]
    assert sorted(settings.secrets) == sorted([*values, "s3cret"]), "the database's password counts by itself too"


@given(variable=st.sampled_from([setting.variable for setting in SETTINGS]), text=st.text(max_size=60))
def test_any_text_is_either_taken_or_refused_in_one_line(variable: str, text: str) -> None:
    line = ""
    try:
        load({variable: text})
    except ConfigError as error:
        line = str(error)
    assert line.isprintable()
    assert len(line) < 1000
