"""Small made-up click examples with every column of models/features.py, for the tests of the gates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from models import features as f

LEAVES = [f"Home > Kitchen > Leaf {i}" for i in range(8)]


def click_columns(rows: int, seed: int = 0, context: tuple[str, ...] = ()) -> dict[str, np.ndarray | list]:
    """Columns of click examples: features independent of labels, 12 % CABA, 18 % CABB."""
    rng = np.random.default_rng(seed)
    leaf = rng.choice(len(LEAVES), rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.05, 0.03])
    columns: dict[str, np.ndarray | list] = {
        "item": np.array([f"item {i}" for i in rng.integers(0, 60, rows)]),
        "leaf": np.array(LEAVES)[leaf],
        "category_top": np.full(rows, "Home"),
        "brand": rng.choice(["Acme", "Bolt", "Cogs"], rows),
        "advertiser": rng.choice(["one", "two"], rows),
        "hour_of_day": rng.integers(0, 24, rows),
        "day_of_week": rng.integers(0, 7, rows),
    }
    columns |= {f.CONTEXT_PREFIX + name: rng.choice(["a", "b", "c"], rows) for name in context}
    lengths = rng.integers(0, f.SEQUENCE_LENGTH + 1, rows)
    columns["recent_items"] = [[f"item {i}" for i in rng.integers(0, 60, n)] for n in lengths]
    columns["recent_leaves"] = [[LEAVES[i] for i in rng.integers(0, 8, n)] for n in lengths]
    columns |= {name: rng.poisson(2.0, rows) for name in f.COUNTS}
    known = rng.random((len(f.DURATIONS), rows)) < 0.6
    columns |= {
        name: np.where(known[i], rng.lognormal(6, 1.5, rows), f.NEVER) for i, name in enumerate(f.DURATIONS)
    }
    columns |= {name: rng.beta(3, 60, rows) for name in f.RATES}
    columns["price"] = rng.lognormal(3, 0.8, rows)
    columns["price_to_leaf"] = rng.lognormal(0, 0.5, rows)
    y_caba, y_cabb = rng.random(rows) < 0.12, rng.random(rows) < 0.18
    columns |= {
        "y_caba": y_caba,
        "y_cabb": y_cabb,
        "y_any": y_caba | y_cabb,
        "last_click_credit": y_caba & (rng.random(rows) < 0.5),
        "y_cart_a": y_caba | (rng.random(rows) < 0.2),
        "y_cart_b": y_cabb | (rng.random(rows) < 0.2),
        "y_checkout_a": y_caba | (rng.random(rows) < 0.05),
        "y_checkout_b": y_cabb | (rng.random(rows) < 0.05),
        "alpha": np.where(y_cabb, rng.random(rows), 0.4),
        "row_weight": np.ones(rows),
        "user_id": np.array([f"user {i}" for i in rng.integers(0, max(rows // 4, 1), rows)]),
        "session_id": np.array([f"session {i}" for i in rng.integers(0, max(rows // 3, 1), rows)]),
        "event_time_us": 1_700_000_000_000_000 + rng.integers(0, 10**12, rows),
        "user_activity": rng.choice(f.USER_ACTIVITY_LEVELS, rows),
    }
    return columns


def record_batch(columns: dict[str, np.ndarray | list]) -> pa.RecordBatch:
    """The columns as Arrow lists, as tfx_bsl has them."""
    arrays = {}
    for name, values in columns.items():
        if name in f.SEQUENCES:
            arrays[name] = pa.array(
                [[v.encode() for v in row] for row in values], pa.large_list(pa.large_binary())
            )
            continue
        if name in f.FLOATS:
            flat = pa.array(np.asarray(values, np.float32))
        elif name in f.INTEGERS:
            flat = pa.array(np.asarray(values, np.int64))
        else:
            flat = pa.array([None if v is None else str(v).encode() for v in values], pa.large_binary())
        arrays[name] = pa.LargeListArray.from_arrays(pa.array(np.arange(len(flat) + 1)), flat)
    return pa.RecordBatch.from_pydict(arrays)


def serialized(columns: dict[str, np.ndarray | list]) -> list[bytes]:
    """The columns as serialized tf.Examples."""
    from tfx_bsl.coders import example_coder

    return example_coder.RecordBatchToExamplesEncoder().encode(record_batch(columns))


def write_examples(folder: Path, **splits: dict[str, np.ndarray | list]):
    """A standard Examples artifact in `folder` with one gzip shard per split."""
    import tensorflow as tf
    from tfx.types import artifact_utils, standard_artifacts

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(sorted(splits))
    for split, columns in splits.items():
        path = folder / f"Split-{split}" / "part-00000-of-00001.gz"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for example in serialized(columns):
                writer.write(example)
    return artifact
