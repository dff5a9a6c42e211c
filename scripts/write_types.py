"""Writes what the web UI knows of the API: ``schema.gen.ts``, ``roles.gen.ts`` and ``faults.gen.ts``.

``python scripts/write_types.py [FOLDER]``. The first is made of the OpenAPI document, by openapi-typescript; the
second of the table of roles, the third of what can go wrong with a provider, for which the page has the words. All are
in the repository, in webui/src/api, and tests/web/test_types.py fails when they are not what this writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import trio

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from daemon import config  # noqa: E402
from daemon.api.app import create_app  # noqa: E402
from daemon.api.parts import ApiParts  # noqa: E402
from daemon.auth.roles import MANAGES, PERMISSIONS, Action, Role  # noqa: E402
from daemon.signin.faults import FAULTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

WEBUI: Final = ROOT / "webui"
FOLDER: Final = WEBUI / "src" / "api"
GENERATED: Final = ("schema.gen.ts", "roles.gen.ts", "faults.gen.ts")
SECONDS: Final = 60.0  # for a program that takes two


def document() -> dict[str, Any]:
    """The OpenAPI document, without a server: an app starts nothing and opens nothing."""
    nothing = cast("Any", None)
    parts = ApiParts(config.load({}), nothing, nothing, nothing, nothing, nothing, nothing, nothing)

    async def read() -> bytes:
        response = await create_app(parts).test_client().get("/api/openapi.json")
        return cast("bytes", await response.get_data(as_text=False))

    return cast("dict[str, Any]", json.loads(trio.run(read)))


def write_schema(openapi: dict[str, Any], output: Path) -> None:
    """The types of all that the document describes."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "openapi.json")
        source.write_text(json.dumps(openapi))
        node = Path(sys.executable).with_name("node")
        program = WEBUI / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
        command = [str(node), str(program), str(source), "--output", str(output), "--root-types"]
        subprocess.run([*command, "--root-types-no-schema-prefix"], check=True, capture_output=True, timeout=SECONDS)


def roles() -> str:
    """Who may do what, as a module."""
    lines = ["// Made by scripts/write_types.py of daemon/auth/roles.py; do not edit.", ""]
    lines += [f"export type Role = {_union(Role)};", "", f"export type Action = {_union(Action)};", ""]
    lines += _table("PERMISSIONS", "Action", {role: PERMISSIONS[role] for role in Role})
    lines += ["", "/** The roles that a role may give to newcomers and whose holders it may remove. */"]
    lines += _table("MANAGES", "Role", {role: MANAGES[role] for role in Role})
    return "\n".join(lines) + "\n"


def faults() -> str:
    """Why somebody came back from a provider without being signed in, as a module."""
    head = "// Made by scripts/write_types.py of daemon/signin/faults.py; do not edit."
    return f"{head}\n\nexport type SignInFault = {_union(FAULTS)};\n"


def _union(words: Iterable[str]) -> str:
    return " | ".join(json.dumps(str(word)) for word in words)


def _table(name: str, kind: str, rows: dict[Role, frozenset[Any]]) -> list[str]:
    lines = [f"export const {name}: Readonly<Record<Role, ReadonlySet<{kind}>>> = {{"]
    for role, words in rows.items():
        lines.append(f"  {role}: new Set<{kind}>({json.dumps(sorted(words))}),")
    return [*lines, "};"]


def write(folder: Path) -> None:
    """Write the files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_schema(document(), folder / "schema.gen.ts")
    (folder / "roles.gen.ts").write_text(roles())
    (folder / "faults.gen.ts").write_text(faults())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
