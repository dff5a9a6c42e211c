"""The chart, its value sets, and what ``helm`` makes of them."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
CHART: Final = ROOT / "charts" / "cli-server"
HELM: Final = ROOT / ".cache" / "helm" / "helm"
KUBECTL: Final = ROOT / ".cache" / "helm" / "kubectl"
RELEASE: Final = "team"  # another word than the chart's name, so that names that forget the release are seen
NAMESPACE: Final = "agents"
DEFINITION: Final = "sandboxes.agents.x-k8s.io"
# Enough for every check of the chart; what a test of one value starts from.
LEAST: Final[Json] = {"baseDomain": "agents.example.com", "database": {"existingSecret": {"name": "database"}}}
_HELM_SECONDS: Final = 60.0  # a rendering takes a third of one on an idle machine
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the definition has 8000 lines


def load_all(text: str) -> list[Json]:
    """The documents of a text, without those that are empty."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document]


@cache
def cases() -> dict[str, Json]:
    """The value sets of the chart's README: heading as a file's name, and values."""
    text = (CHART / "README.md").read_text()
    found = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {heading.lower().replace(" ", "-"): load_all(values)[0] for heading, values in found}


class HelmError(Exception):
    """``helm`` refused; its words."""


def helm(*arguments: str, given: Json | None = None, kubeconfig: str = "/dev/null") -> str:
    """What ``helm`` answers; ``given`` are values. Nothing of the machine's own helm is read or written."""
    command = [str(HELM), *arguments]
    if given is not None:
        command += ["--values", "-"]
    answer = subprocess.run(
        command,
        input=json.dumps(given or {}),  # which is YAML
        capture_output=True,
        text=True,
        timeout=_HELM_SECONDS,
        check=False,
        env={"HOME": "/nonexistent", "KUBECONFIG": kubeconfig, "HELM_DRIVER": "secret"},
    )
    if answer.returncode != 0:
        raise HelmError(answer.stderr.strip() + answer.stdout.strip())
    return str(answer.stdout)


def render(given: Json, *more: str) -> Rendered:
    """The manifests of one installation."""
    text = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *more, given=given)
    return Rendered(text, given)


@dataclass(frozen=True)
class Rendered:
    """What ``helm template`` wrote, and how to find something in it."""

    text: str
    given: Json = field(repr=False)

    @cached_property
    def manifests(self) -> list[Json]:
        """All documents."""
        return load_all(self.text)

    def kinds(self, kind: str) -> list[Json]:
        """All documents of a kind."""
        return [one for one in self.manifests if one["kind"] == kind]

    def one(self, kind: str, name: str = f"{RELEASE}-cli-server") -> Json:
        """The document of this kind and name."""
        (found,) = [each for each in self.kinds(kind) if each["metadata"]["name"] == name]
        return found

    @property
    def container(self) -> Json:
        """The server's."""
        (found,) = self.one("Deployment")["spec"]["template"]["spec"]["containers"]
        assert isinstance(found, dict)
        return found

    @property
    def env(self) -> dict[str, str]:
        """The server's variables that have a value here."""
        return {one["name"]: str(one["value"]) for one in self.container["env"] if "value" in one}

    def pods(self) -> Iterator[tuple[str, Json]]:
        """The specs of all pods that would be made, with whose they are."""
        for one in self.manifests:
            if one["kind"] in ("Deployment", "StatefulSet"):
                yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]

    def secrets(self) -> dict[str, dict[str, bytes]]:
        """What stands in secrets: name, key, value."""
        return {
            one["metadata"]["name"]: {key: base64.b64decode(value) for key, value in (one.get("data") or {}).items()}
            for one in self.kinds("Secret")
        }


# What is made anew at each rendering.
_RANDOM: Final = (
    (re.compile(r'(?m)^(  secret\.key: )"[A-Za-z0-9+/]{43}="$'), r'\1"(random)"'),
    (re.compile(r'(?m)^(  (?:password|url): )"[A-Za-z0-9+/=]{40,}"$'), r'\1"(random)"'),
)
# Of every document the file that it comes from; the definition is compared with its own file.
_DOCUMENT: Final = re.compile(r"(?m)^---\n")


def comparable(text: str) -> str:
    """A rendering as golden files have it: without what is random, and without the definition's 8000 lines."""
    kept = [part for part in _DOCUMENT.split(text) if f"name: {DEFINITION}\nspec:" not in part]
    text = "---\n".join(kept)
    for pattern, put in _RANDOM:
        text = pattern.sub(put, text)
    return text
