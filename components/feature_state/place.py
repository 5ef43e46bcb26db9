"""Where the live feature state of a serving directory is, and how it is made from the pushed version's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.feature_state.settings import EMBEDDED
from components.feature_state.snapshot import Snapshot
from components.feature_state.store import NoStateError, SqliteStore, Store
from schemas.errors import InputError
from schemas.lineage import FEATURE_STATE_DIR, production

if TYPE_CHECKING:
    from components.feature_state.redis_store import RedisStore

LIVE_FILE = "feature_state.sqlite"


def live_store(serving_dir: Path, place: str | None = None, rebuild: bool = False) -> Store:
    """The live feature state; one that is not there yet begins as the pushed version has it.

    Args:
        serving_dir: where versions are published; its name is the model's.
        place: `sqlite` or a Redis URL, instead of what the pushed version's settings say.
        rebuild: begin again from the pushed version, in the place of what is there.

    Raises:
        InputError: nothing is published, or without a feature state, or the place cannot be used.
    """
    snapshot = pushed_snapshot(serving_dir)
    place = place or snapshot.facts.store
    if not rebuild:
        try:
            return _open(serving_dir, place)
        except NoStateError:
            pass
    if place == EMBEDDED:
        return SqliteStore.create(serving_dir / LIVE_FILE, snapshot)
    return _redis_store().create(place, serving_dir.resolve().name, snapshot)


def pushed_snapshot(serving_dir: Path) -> Snapshot:
    """The feature state of the version in production.

    Raises:
        InputError: nothing is published, or without a feature state.
    """
    version = production(serving_dir)
    if version is None:
        raise InputError(f"{serving_dir}: holds no version; push one with `cabb run` first")
    home = version.path / FEATURE_STATE_DIR
    if not home.is_dir():
        raise InputError(f"{version.path}: carries no feature state; push a version with `cabb run`")
    return Snapshot(home)


def _open(serving_dir: Path, place: str) -> Store:
    if place == EMBEDDED:
        return SqliteStore(serving_dir / LIVE_FILE)
    return _redis_store()(place, serving_dir.resolve().name)


def _redis_store() -> type[RedisStore]:
    try:
        from components.feature_state.redis_store import RedisStore
    except ModuleNotFoundError:
        raise InputError("a feature state on Redis needs its client: install cabb[redis]") from None
    return RedisStore
