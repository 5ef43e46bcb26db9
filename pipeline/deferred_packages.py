"""Packages whose content is loaded when something first asks for it, not when they are imported.

TFX, TFMA and Beam import clients, notebooks and tuners that most processes never touch; a task of the
pipeline would pay for all of them before its first row. A deferred package is found and imported as ever, so
its submodules can be imported; its own `__init__` runs at the first attribute that is not there yet. (The
standard library's `LazyLoader` loads a package as soon as one of its submodules is imported.)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

HEAVY = (
    "google.cloud.aiplatform",
    "google.cloud.bigquery",
    "keras_tuner",
    "kubernetes",
    "tensorflow",
    "tensorflow_model_analysis",
    "tfx.components",
)
"""What is imported by many modules of TFX, TFMA and Beam, and used by few."""
_PENDING = "__deferred_loader__"


def defer(*packages: str) -> None:
    """Defers packages (dotted names) of this process that have not been imported yet."""
    names = frozenset(packages) - sys.modules.keys()
    sys.meta_path.insert(0, _Finder(names))


class _Finder(MetaPathFinder):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferredLoader(spec.loader)
        return spec


class _DeferredLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[_PENDING] = self._loader


class _DeferredPackage(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__["__deferred_lock__"] = threading.RLock()

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Work that Beam sends to its workers names modules: they import it in their own way."""
        return import_module, (self.__name__,)

    def __getattr__(self, name: str) -> object:
        """Called for what is not there: loads the package, unless this very thread is loading it."""
        with self.__dict__["__deferred_lock__"]:
            loader = self.__dict__.pop(_PENDING, None)
            if loader is not None:
                try:
                    loader.exec_module(self)
                except BaseException:
                    self.__dict__[_PENDING] = loader
                    raise
        if name in self.__dict__:
            return self.__dict__[name]
        own = self.__dict__.get("__getattr__")
        if own is not None:
            return own(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
