"""Whether a dotted path names something that can be imported, found out without importing TFX.

Importing `tfx` takes half a minute; its source files can be read in milliseconds.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path


@cache
def unresolved(path: str) -> str | None:
    """Why `package.module.Name` cannot be imported; None when it can."""
    module, _, name = path.rpartition(".")
    if not module:
        return f"{path} names no module"
    file = _file_of(module)
    if file is None:
        return f"there is no module {module}"
    if name in _names_in(file):
        return None
    return f"{module} has no {name}"


def _file_of(module: str) -> Path | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py") if rest else path / "__init__.py"):
            if candidate.is_file():
                return candidate
    if spec and not rest and spec.origin and Path(spec.origin).is_file():
        return Path(spec.origin)
    return None


@cache
def _names_in(file: Path) -> frozenset[str]:
    """Names bound at the top level of a module; with a module `__getattr__`, also the keys it may look up."""
    names: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node in tree.body:
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.Assign):
            names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    if "__getattr__" in names:
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                names |= {
                    key.value
                    for key in node.value.keys
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)
                }
    return frozenset(names)
