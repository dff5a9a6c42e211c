"""An image whose opencode is the fake: what the Docker backend asks of a sandbox image, and nothing else.

It is built once and kept; another one only when the fake, its recipe or the base image has changed.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import docker
import docker.errors

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "debian:bookworm-slim"
_NAME: Final = "cli-server-tests-fake"
_LABEL: Final = "cli-server.tests.fake"
_FAKE: Final = Path(__file__).with_name("fake_opencode.py")
# Docker's own cleaning of apt does not hold in images that debootstrap made.
_RECIPE: Final = f"""\
FROM {BASE}
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends python3 \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \\
    && groupadd --gid 1000 agent && useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash agent \\
    && mkdir -p /data/disk0 && chown 1000:1000 /data/disk0 && ln -s /data/disk0 /home/agent/disk0
COPY opencode /usr/local/bin/opencode
ENV HOME=/home/agent LANG=C.UTF-8
USER 1000:1000
WORKDIR /home/agent
"""


@cache
def fake_image() -> str:
    """The name of the image. Blocking: building it takes half a minute."""
    subprocess.run([str(ROOT / "scripts" / "base_image.sh")], check=True, timeout=300, stdin=subprocess.DEVNULL)
    client = docker.APIClient(timeout=300)
    try:
        base = client.inspect_image(BASE)["Id"]
        inputs = [base.encode(), _RECIPE.encode(), _FAKE.read_bytes()]
        name = f"{_NAME}:{hashlib.sha256(b'|'.join(inputs)).hexdigest()[:16]}"
        try:
            client.inspect_image(name)
        except docker.errors.ImageNotFound:
            _build(client, name)
            _remove_others(client, name)
        return name
    finally:
        client.close()


def _build(client: docker.APIClient, name: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, data, mode in (("Dockerfile", _RECIPE.encode(), 0o644), ("opencode", _FAKE.read_bytes(), 0o755)):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    context.seek(0)
    said = []
    for line in client.build(
        fileobj=context, custom_context=True, tag=name, rm=True, labels={_LABEL: "1"}, network_mode="host", decode=True
    ):
        said.append(str(line.get("stream") or line.get("error") or ""))
        assert "error" not in line, "".join(said)


def _remove_others(client: docker.APIClient, name: str) -> None:
    """Those of earlier times, unless somebody uses them."""
    for image in client.images(filters={"label": _LABEL}):
        if name not in (image["RepoTags"] or []):
            with suppress(docker.errors.APIError):
                client.remove_image(image["Id"])
