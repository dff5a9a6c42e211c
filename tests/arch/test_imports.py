"""The direction of imports. Each rule gives its reason, so that whoever breaks it knows what to do instead."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from tests.arch.code import OURS, PRODUCT, Module, modules, within

if TYPE_CHECKING:
    from collections.abc import Iterable

# What each part of the server may import of the others; its own modules and protocol it always may. A part that is not
# named here needs a line, and a thought.
LAYERS: dict[str, tuple[str, ...]] = {
    "daemon.ids": (),
    "daemon.version": (),
    "daemon.values": (),
    "daemon.cluster_values": (),
    "daemon.secret": (),
    "daemon.cookies": (),
    "daemon.browser_headers": (),
    "daemon.datadir": (),
    "daemon.supervise": (),
    "daemon.systemd": ("daemon.supervise",),
    "daemon.logs": (),
    "daemon.garbage": (),
    "daemon.pages": (),
    "daemon.wire": (),
    "daemon.secretfile": (),
    "daemon.security_txt": (),
    "daemon.setting_table": ("daemon.cluster_values", "daemon.security_txt", "daemon.values"),
    "daemon.config": ("daemon.secretfile", "daemon.setting_table", "daemon.values"),
    "daemon.metrics": ("daemon.config",),
    "daemon.upkeep": ("daemon.db", "daemon.store"),
    "daemon.readiness": ("daemon.supervise",),
    "daemon.start": (
        "backends", "daemon.config", "daemon.datadir", "daemon.db", "daemon.gateway.listener", "daemon.secret",
        "daemon.systemd",
    ),
    "daemon.auth": ("daemon.secret",),
    "daemon.refusals": ("daemon.auth", "daemon.db", "daemon.store"),
    "daemon.db": ("daemon.ids",),
    "daemon.signin": ("daemon.auth.rules", "daemon.config", "daemon.secret", "daemon.values"),
    "daemon.store": (
        "daemon.auth", "daemon.cookies", "daemon.db", "daemon.ids", "daemon.sandboxes.status", "daemon.signin.faults",
        "daemon.signin.profile",
    ),
    "daemon.sandboxes": (
        "backends.base", "backends.containers", "backends.outage",
        "daemon.config", "daemon.db", "daemon.gateway.router", "daemon.ids", "daemon.secret",
        "daemon.store", "daemon.supervise", "daemon.values", "daemon.wire",
    ),
    "daemon.gateway": (
        "backends.base", "daemon.browser_headers", "daemon.config", "daemon.cookies", "daemon.db", "daemon.ids",
        "daemon.pages", "daemon.refusals", "daemon.sandboxes", "daemon.secret", "daemon.store", "daemon.supervise",
        "daemon.wire",
    ),
    "daemon.tunnel": (
        "daemon.db", "daemon.gateway", "daemon.ids", "daemon.pages", "daemon.refusals", "daemon.sandboxes.status",
        "daemon.secret", "daemon.store", "daemon.version", "daemon.wire",
    ),
    "daemon.anthropic": (
        "daemon.config", "daemon.db", "daemon.gateway.exchange", "daemon.gateway.limits", "daemon.ids", "daemon.secret",
        "daemon.store", "daemon.wire",
    ),
    "daemon.api": (
        "backends.base", "daemon.auth", "daemon.browser_headers", "daemon.config", "daemon.cookies", "daemon.db",
        "daemon.gateway.limits", "daemon.ids", "daemon.pages", "daemon.refusals", "daemon.sandboxes", "daemon.secret",
        "daemon.security_txt", "daemon.signin", "daemon.store", "daemon.values", "daemon.version",
    ),
}  # fmt: skip
# Who may see all parts. They are entrances: nobody imports them but the ones above them.
ENTRANCES = {
    "daemon.app": ("daemon.cli", "daemon.checks"),
    "daemon.checks": ("daemon.doctor",),
    "daemon.doctor": (
        "daemon.cli",
        "daemon.checks",
        "daemon.cluster_checks",
        "daemon.engine_checks",
        "daemon.signin_checks",
    ),
    "daemon.engine_checks": ("daemon.checks",),
    "daemon.cluster_checks": ("daemon.checks",),
    "daemon.signin_checks": ("daemon.checks",),
    "daemon.database_command": ("daemon.cli",),
    "daemon.cli": ("daemon.__main__",),
    "daemon.__main__": (),
}
# What a default install has besides Python: pyproject.toml, "dependencies".
DEFAULT_INSTALL = {"click", "h11", "trio", "wsproto"}
# What the agent is made of, beside daemon/version.py.
AGENT = ("protocol", "daemon/wire", "daemon/agent")
# Of Python's own modules, those that Windows lacks and that one might reach for.
UNIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def _wrong(modules: Iterable[Module], allowed: tuple[str, ...]) -> list[str]:
    """ "daemon.ids imports daemon.app" for each import of ours that is not within ``allowed``."""
    return [
        f"{module.name} imports {name}"
        for module in modules
        for name in sorted(module.ours)
        if not within(name, *allowed)
    ]


def _foreign(module: Module) -> set[str]:
    """Top-level names of what is neither ours nor Python's."""
    return {name.partition(".")[0] for name in module.imports} - sys.stdlib_module_names - set(OURS)


def _imported(node: ast.stmt) -> set[str]:
    """What a statement at the top of a module imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {node.module or ""} if isinstance(node, ast.ImportFrom) else set()


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_the_wire_is_pure() -> None:
    assert not _wrong(modules("protocol"), ("protocol",)), "protocol/ is used by both ends and imports nothing of ours"
    for module in modules("protocol"):
        waiting = [node.name for node in module.functions if isinstance(node, ast.AsyncFunctionDef)]
        assert not waiting, f"{module.name}: the wire takes bytes and gives events; who awaits is outside"
        clocks = module.imports & {"asyncio", "logging", "socket", "ssl", "structlog", "threading", "time", "trio"}
        assert not clocks, f"{module.name}: the wire never awaits, logs, or knows the time; pass in what it needs"


def test_backends_know_no_daemon() -> None:
    wrong = _wrong(modules("backends"), ("backends", "protocol"))
    assert not wrong, "a backend knows no users, no statuses and no database: pass in what it needs"


def test_the_agent_installs_without_the_server() -> None:
    wrong = _wrong(modules("daemon/agent"), ("protocol", "daemon.agent", "daemon.version", "daemon.wire"))
    assert not wrong, "the agent becomes one pure Python file with protocol/ and daemon/wire/"
    for module in modules(*AGENT):
        assert _foreign(module) <= DEFAULT_INSTALL, f"{module.name}: the agent has the default install only"


def test_the_agent_starts_on_any_system() -> None:
    """What is Unix only may be imported where it is used, behind a question for the system, or not at all."""
    for module in modules(*AGENT):
        found = {name for node in module.tree.body for name in _imported(node)} & UNIX_ONLY
        assert not found, f"{module.name}: the agent runs on Windows too, where {', '.join(sorted(found))} is missing"


def test_the_product_does_not_know_its_tests() -> None:
    assert not _wrong(modules(*PRODUCT), PRODUCT), "fakes live in tests/, and stay there"
    for module in modules(*PRODUCT):
        assert "pytest" not in _foreign(module), f"{module.name} must not know that it is being tested"


def test_trio_only() -> None:
    for module in modules(*PRODUCT):
        assert "asyncio" not in {name.partition(".")[0] for name in module.imports}, module.name


def test_the_parts_of_the_server_stay_in_their_layers() -> None:
    for module in modules("daemon"):
        part = _part(module.name)
        if module.name == "daemon" or part in ENTRANCES or part == "daemon.agent":
            continue
        assert part in LAYERS, f"{part} is new: say in LAYERS what it may import"
        assert not _wrong([module], (part, "protocol", *LAYERS[part])), (
            f"{part} may import {', '.join(LAYERS[part]) or 'nothing of ours'}; only daemon/app.py knows all parts"
        )


def test_entrances_are_entered_from_above_only() -> None:
    for module in modules(*PRODUCT):
        for entrance, users in ENTRANCES.items():
            if _part(module.name) != entrance and entrance in module.ours:
                assert module.name in users, f"{entrance} knows many parts; what {module.name} needs belongs elsewhere"


_LOOKS = {"environ", "environb", "getenv", "getenvb"}
# Where the environment may be looked at, and why.
ENVIRONMENT = {
    "daemon.cli": "hands it to daemon.config, the one reader of settings",
    "daemon.agent.__main__": "hands it to daemon.agent.cli, as daemon.cli does",
    "backends.launcher": "a program of its own, whose environment is the sandbox's",
}


def test_settings_are_read_in_one_place() -> None:
    """Style: trap 2, settings read everywhere."""
    for module in modules(*PRODUCT):
        looks = {
            f"{module.name}:{node.lineno}"
            for node in ast.walk(module.tree)
            if (isinstance(node, ast.Attribute) and node.attr in _LOOKS and ast.unparse(node.value) == "os")
            or (isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & _LOOKS)
        }
        assert not looks or module.name in ENVIRONMENT, (
            f"{looks} looks at the environment; settings are read by daemon/config.py and passed to who needs them"
        )
