"""Writes a simulated store: event logs, catalog and the truth beside them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError
from simulator.catalog import Catalog, build_catalog
from simulator.shoppers import CHANNEL, COUNTRY, DEVICE, EVENT_TYPES, Chunk, Shoppers
from simulator.taxonomy import Taxonomy
from simulator.worlds import GENERATOR, World

WORLD_FILE = "truth/world.json"
TRUTH_COLUMNS = ("p_caba", "p_cabb", "p_cabb_related", "p_cabb_unrelated", "p_conversion", "uplift")


class Store:
    """A world made concrete: its taxonomy, catalog and shoppers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.taxonomy = Taxonomy()
        self.catalog: Catalog = build_catalog(world, self.taxonomy)
        self.shoppers = Shoppers(world, self.taxonomy, self.catalog)
        self._products = pa.array(self.catalog.product_ids)
        self._items = pa.array(self.catalog.item_ids)

    def tables(self, index: int) -> tuple[pa.Table, pa.Table]:
        """(events, truth of the click examples) of one chunk, as they are written."""
        chunk = self.shoppers.chunk(index)
        sessions, truth = self.sessions(chunk), chunk.truth
        examples = {
            **{name: sessions[name].take(pa.array(truth["session"])) for name in ("user_id", "session_id")},
            "item": self._items.take(pa.array(truth["item"])),
            **{name: pa.array(truth[name].astype(np.float32)) for name in TRUTH_COLUMNS},
        }
        return self.events(chunk), pa.table(examples)

    def sessions(self, chunk: Chunk) -> dict[str, pa.Array]:
        """user_id, session_id and the contexts of a chunk's sessions."""
        users = pa.array(np.char.mod("u%08d", chunk.first_user + np.arange(chunk.users)).tolist())
        user = users.take(pa.array(chunk.session_user))
        ordinal = pc.cast(pa.array(chunk.session_ordinal), pa.string())
        return {
            "user_id": user,
            "session_id": pc.binary_join_element_wise(user, ordinal, "-"),
            "channel": _named(chunk.session_channel, CHANNEL.names),
            "device": _named(chunk.session_device, DEVICE.names),
            "country": _named(chunk.session_country, COUNTRY.names),
        }

    def events(self, chunk: Chunk) -> pa.Table:
        """The log of a chunk."""
        log = chunk.events
        price, quantity = log["price"], log["quantity"]
        of_session = {
            name: column.take(pa.array(log["session"])) for name, column in self.sessions(chunk).items()
        }
        columns = {
            "user_id": of_session.pop("user_id"),
            "session_id": of_session.pop("session_id"),
            "event_time": pa.array(log["time_us"], pa.timestamp("us", tz="UTC")),
            "event_type": _named(log["type"], EVENT_TYPES),
            "product_id": self._products.take(pa.array(log["sku"])),
            "price": pa.array(price),
            "quantity": pa.array(quantity, mask=quantity < 0),
            "revenue": pa.array(price * quantity, pa.float32(), mask=quantity < 0),
            "list_position": pa.array(log["list_position"], mask=log["list_position"] < 0),
            **of_session,
        }
        return pa.table(columns)


def _named(codes: np.ndarray, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(names))


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def simulate(world: World, directory: str | Path, progress: Callable[[int, int], None] | None = None) -> dict:
    """Write `events/part-*.parquet`, `catalog.parquet` and `truth/` of a world.

    The store appears under its name only when complete. A complete store of this world is left as it is.

    Args:
        directory: a new or empty directory, or an earlier simulated store, which is replaced.
        progress: called with (users simulated, users of the world).

    Returns:
        The content of `truth/world.json`: settings, sha256, files, events by type, examples, mean truth.

    Raises:
        InputError: the directory holds something else.
    """
    directory = Path(directory)
    found = _existing(directory)
    if found is not None and _is(world, found, directory):
        if progress:
            progress(world.users, world.users)
        return found
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        record = _write_store(world, staging, progress)
        staging.chmod(0o755)
        if directory.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
            os.replace(directory, old)
            os.replace(staging, directory)
            shutil.rmtree(old)
        else:
            os.replace(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return record


def _existing(directory: Path) -> dict | None:
    """The record of a simulated store, None for nothing yet."""
    if not directory.exists():
        return None
    if directory.is_dir() and not any(directory.iterdir()):
        return None
    try:
        return json.loads((directory / WORLD_FILE).read_text())
    except (OSError, ValueError):
        message = (
            f"{directory} exists and is not a simulated store: choose another --output or empty it first"
        )
        raise InputError(message) from None


def _is(world: World, found: dict, directory: Path) -> bool:
    files = found.get("files", [])
    return (
        found.get("sha256") == world.sha256()
        and bool(files)
        and all((directory / name).is_file() for name in files)
    )


def is_complete(world: World, directory: str | Path) -> bool:
    """Whether the directory holds all of this very world already.

    Raises:
        InputError: the directory holds something else than a simulated store.
    """
    found = _existing(Path(directory))
    return found is not None and _is(world, found, Path(directory))


def _write_store(world: World, root: Path, progress: Callable[[int, int], None] | None) -> dict:
    store = Store(world)
    counts = dict.fromkeys(EVENT_TYPES, 0)
    sums = dict.fromkeys(TRUTH_COLUMNS, 0.0)
    examples = 0
    for index in range(store.shoppers.chunks):
        events, truth = store.tables(index)
        part = f"part-{index:05d}.parquet"
        _write(events, root / "events" / part)
        _write(truth, root / "truth" / f"clicks-{index:05d}.parquet")
        for row in pc.value_counts(events["event_type"].combine_chunks()).to_pylist():
            counts[row["values"]] += row["counts"]
        examples += truth.num_rows
        for name in TRUTH_COLUMNS:
            sums[name] += pc.sum(truth[name]).as_py()
        if progress:
            progress(min((index + 1) * world.users_per_chunk, world.users), world.users)
    store.catalog.table.write_parquet(root / "catalog.parquet")
    store.catalog.truth.write_parquet(root / "truth" / "items.parquet")
    _relatedness(store.taxonomy).write_parquet(root / "truth" / "relatedness.parquet")
    record = {
        "sha256": world.sha256(),
        "generator": GENERATOR,
        "settings": world.model_dump(mode="json"),
        "files": sorted(str(path.relative_to(root)) for path in root.rglob("*.parquet")),
        "events": counts,
        "click_examples": examples,
        "mean": {name: total / examples for name, total in sums.items()},
    }
    (root / WORLD_FILE).write_text(json.dumps(record, indent=2) + "\n")
    return record


def _relatedness(taxonomy: Taxonomy) -> pl.DataFrame:
    """Every ordered pair of leaves that are related at all."""
    a, b = np.nonzero(taxonomy.relatedness)
    paths = np.array(taxonomy.paths)
    return pl.DataFrame({"leaf_a": paths[a], "leaf_b": paths[b], "relatedness": taxonomy.relatedness[a, b]})
