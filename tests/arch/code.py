"""Reads the product's source: modules, what they import, and their functions. Nothing is imported to look at it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PRODUCT = ("protocol", "backends", "daemon")
OURS = (*PRODUCT, "tests", "bench")


@dataclass(frozen=True)
class Module:
    """One file. ``name`` is dotted: ``daemon.gateway.relay``; a package's own file has the package's name."""

    path: Path

    @property
    def name(self) -> str:
        parts = list(self.path.relative_to(ROOT).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse("\n".join(self.lines))

    @cached_property
    def imports(self) -> set[str]:
        """Dotted names of everything that is imported, for types or really, at the top or inside."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: relative imports hide who imports whom"
                # "from daemon import values" imports daemon.values; "from daemon.ids import new_id" goes no deeper.
                deeper = {
                    f"{node.module}.{alias.name}" for alias in node.names if is_module(f"{node.module}.{alias.name}")
                }
                found |= deeper
                if len(deeper) < len(node.names):
                    found.add(node.module or "")
        return found

    @property
    def ours(self) -> set[str]:
        """Those of our own modules."""
        return {name for name in self.imports if name.partition(".")[0] in OURS} - set(OURS)

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_module(name: str) -> bool:
    """Whether one of our files or folders has this dotted name."""
    path = ROOT.joinpath(*name.split("."))
    return name.partition(".")[0] in OURS and (path.is_dir() or path.with_suffix(".py").is_file())


@cache
def modules(*packages: str) -> list[Module]:
    """All modules below folders such as ``daemon`` or ``daemon/agent``."""
    return [Module(path) for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def within(name: str, *packages: str) -> bool:
    """Whether the dotted ``name`` is one of ``packages`` or inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)
