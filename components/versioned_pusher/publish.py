"""Publishing a version: staged beside its destination, written through to disk, renamed once.

A reader of the serving directory sees a version whole or not at all, whatever moment the process dies at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from schemas.errors import InputError
from schemas.lineage import (
    LAST_VERSION_FILE,
    LINEAGE_FILE,
    Lineage,
    Version,
    next_number,
    production,
)

STAGING_PREFIX = ".staging-"


def publish(
    serving_dir: str | Path,
    lineage: Lineage,
    copy_model: Callable[[str], None],
    extra: Mapping[Path, bytes] | None = None,
) -> Version:
    """Makes a model the next version of `serving_dir`, or finds it in production already.

    Args:
        serving_dir: a directory of this machine (or mounted on it): renames must be atomic in it.
        lineage: what the run knows of itself; its `version` and `parent_version` are set here.
        copy_model: writes the SavedModel into the directory it is given, which does not exist yet.
        extra: further files of the version: contents by path inside its folder.

    Raises:
        InputError: `serving_dir` is not a path of this machine, or another version came into production
            since the run began.
    """
    if "://" in str(serving_dir):
        raise InputError(
            f"serving directory {serving_dir}: versions are published by a rename, which object stores do "
            "not have; use a mounted directory"
        )
    root = Path(serving_dir)
    root.mkdir(parents=True, exist_ok=True)
    parent = production(root)
    if parent is not None and parent.lineage is not None and parent.lineage.run_key == lineage.run_key:
        return parent
    expected = lineage.production_at_start
    if expected is not None and expected != (parent.number if parent else 0):
        raise InputError(
            f"{root}: version {parent.number if parent else 0} came into production while this run was "
            f"judged against version {expected}; run again"
        )

    staging = root / f"{STAGING_PREFIX}{sha256(lineage.run_key.encode()).hexdigest()[:16]}"
    shutil.rmtree(staging, ignore_errors=True)  # left by a run of the same key that was killed
    copy_model(str(staging))
    number = next_number(root)
    lineage = lineage.model_copy(
        update={"version": number, "parent_version": parent.number if parent else None}
    )
    for path, content in {**(extra or {}), LINEAGE_FILE: lineage.to_json().encode()}.items():
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).write_bytes(content)
    _write_through(staging)
    _remember(root, number)
    os.rename(staging, root / str(number))  # refused if somebody else made this version meanwhile
    _sync(root)
    return Version(number, root / str(number), lineage)


def _remember(root: Path, number: int) -> None:
    temporary = root / f".{LAST_VERSION_FILE}.tmp"
    temporary.write_text(f"{number}\n", encoding="utf-8")
    _sync(temporary)
    temporary.replace(root / LAST_VERSION_FILE)


def _write_through(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        for name in files:
            _sync(Path(path, name))
        _sync(Path(path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
