"""Stands in for torchvision while timm imports, which names it everywhere and uses none of it here.

A build of torchvision that matches a CPU-only torch is not always to be had; every attribute of the shim is a class, so
that names can be imported, subclassed and annotated with.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.utils",
)


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {member: member for member in ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING")})
        made.LANCZOS = "LANCZOS"  # type: ignore[attr-defined]
        return made


def works() -> bool:
    """Whether the real torchvision imports."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        import torchvision  # noqa: F401
    except Exception:  # built for another torch: operators are missing
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        return False
    return True


@contextmanager
def installed() -> Iterator[None]:
    """Put the shim where the real one does not import, for as long as this lasts: transformers does without either."""
    if works():
        yield
        return
    for name in NAMES:
        module = _Anything(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__path__ = []
        module.__version__ = "0.0"
        sys.modules[name] = module
    for name in NAMES[1:]:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[name])
    try:
        yield
    finally:
        for name in NAMES:
            del sys.modules[name]
