"""Hashes of the project's own sources: TFX's cache must miss when code changes, not only when data does."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def code_hash(*packages: str) -> str:
    """SHA-256 over the sources of packages or modules (dotted names), in a stable order; 16 hex digits.

    Compiled caches are left out; package data (schemas, templates) counts.

    Raises:
        ModuleNotFoundError: no such package.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no package {package!r} to hash")
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*")) if origin.name == "__init__.py" else [origin]
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{package}/{path.relative_to(origin.parent).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
