"""A pod's volumes as directories of this machine, with the rights that a kubelet gives them."""

from __future__ import annotations

import base64
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.standins.kubernetes.world import World

Json = dict[str, Any]


def mounts(world: World, pod: Json, container: Json) -> list[tuple[str, str, bool]]:
    """(path of this machine, path inside, read-only) of a container. Raises :class:`LookupError` with a text."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    found = []
    for mount in container.get("volumeMounts") or ():
        volume = volumes[mount["name"]]
        place = directory(world, pod, volume)
        if mount.get("subPath"):
            place = place / mount["subPath"]
            place.mkdir(parents=True, exist_ok=True)
            _own(place, pod)
        claim = volume.get("persistentVolumeClaim") or {}
        found.append(
            (str(place), mount["mountPath"], bool(mount.get("readOnly") or claim.get("readOnly") or "secret" in volume))
        )
    return found


def directory(world: World, pod: Json, volume: Json) -> Path:
    """Where a volume is. It is made if it is not there."""
    namespace = pod["metadata"]["namespace"]
    if claim := volume.get("persistentVolumeClaim"):
        found = world.store.find(("", "persistentvolumeclaims"), namespace, claim["claimName"])
        if found is None:
            raise LookupError(f'persistentvolumeclaim "{claim["claimName"]}" not found')
        place = disk(world, found)
    else:
        place = of_pod(world, pod) / volume["name"]
    place.mkdir(parents=True, exist_ok=True)
    if "secret" in volume:
        _fill(world, namespace, volume["secret"], place)
    _own(place, pod, everybody="emptyDir" in volume)
    return place


def disk(world: World, claim: Json) -> Path:
    """Where the files of a claim are; ``Cluster.disk`` tells tests."""
    return world.folder / "volumes" / str(claim["metadata"]["uid"])


def of_pod(world: World, pod: Json) -> Path:
    """What goes with the pod."""
    return world.folder / "pods" / str(pod["metadata"]["uid"])


def forget(path: Path) -> None:
    """Take a directory away."""
    shutil.rmtree(path, ignore_errors=True)


def _fill(world: World, namespace: str, source: Json, place: Path) -> None:
    secret = world.store.find(("", "secrets"), namespace, source["secretName"])
    if secret is None:
        if source.get("optional"):
            return
        raise LookupError(f'MountVolume.SetUp failed for volume: secret "{source["secretName"]}" not found')
    names = {item["key"]: item["path"] for item in source.get("items") or ()}
    for key, value in (secret.get("data") or {}).items():
        if not names or key in names:
            (place / names.get(key, key)).write_bytes(base64.b64decode(value))
            (place / names.get(key, key)).chmod(source.get("defaultMode", 0o644))


def _own(place: Path, pod: Json, *, everybody: bool = False) -> None:
    """``fsGroup`` may write; without it only root may, but for an ``emptyDir``."""
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    if everybody:
        place.chmod(0o777)
    if group is not None and os.geteuid() == 0:
        for root, _, files in os.walk(place):
            with suppress(FileNotFoundError):  # another pod works on the same volume
                os.chown(root, -1, group)
                Path(root).chmod(Path(root).stat().st_mode & 0o7777 | 0o2770)
            for name in files:
                with suppress(FileNotFoundError):
                    os.chown(Path(root, name), -1, group, follow_symlinks=False)
