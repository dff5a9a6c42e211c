"""The programs of the sandbox's image as modules; they are no package, because the image has nothing else of ours."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from types import ModuleType

DOORS = ROOT / "docker" / "sandbox" / "doors.py"


def load_doors() -> ModuleType:
    """``docker/sandbox/doors.py``."""
    spec = importlib.util.spec_from_file_location("sandbox_doors", DOORS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
