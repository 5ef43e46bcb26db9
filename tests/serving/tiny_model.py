"""A SavedModel of four features with the signatures and outputs of a pushed one, made in a second."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.servable import WARMUP_FILE

OUTPUTS = ("p_caba", "p_cabb", "p_conversion")
RAW = {"item": tf.string, "price": tf.float32, "hour_of_day": tf.int64, "recent_items": tf.string}
ITEMS = 50


class TinyModel(tf.Module):
    """p_caba = sigmoid(bias + price / 100 + hour / 24 + hash(item) + whether the item is in the history)."""

    def __init__(self, bias: float):
        super().__init__()
        self.bias = tf.Variable(bias, dtype=tf.float32)

    def scores(self, item, price, hour_of_day, recent_items):
        hashed = tf.cast(tf.strings.to_hash_bucket_fast(item, ITEMS), tf.float32) / ITEMS
        again = tf.cast(tf.equal(recent_items, item[:, None]), tf.float32)
        seen = tf.reduce_max(tf.pad(again, [[0, 0], [0, 1]]), 1)
        z = self.bias + price / 100 + tf.cast(hour_of_day, tf.float32) / 24 + hashed + seen
        caba, cabb = tf.sigmoid(z), tf.sigmoid(z - 1)
        return {
            "p_caba": caba[:, None],
            "p_cabb": cabb[:, None],
            "p_conversion": (caba + cabb - caba * cabb)[:, None],
        }


def save(path: Path, bias: float = 0.0) -> None:
    """Writes the SavedModel and its description; `path` appears whole, in one rename."""
    model = TinyModel(bias)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None] if name == "recent_items" else [None], dtype, name=name)
            for name, dtype in RAW.items()
        ]
    )
    def raw(item, price, hour_of_day, recent_items):
        return model.scores(item, price, hour_of_day, recent_items)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None] if name == "hour_of_day" else [None, None], dtype, name=name)
            for name, dtype in RAW.items()
        ]
    )
    def rank(item, price, hour_of_day, recent_items):
        shape = tf.shape(item)
        rows = (tf.reshape(each, [-1]) for each in (item, price))
        users = (tf.repeat(each, shape[1], axis=0) for each in (hour_of_day, recent_items))
        outputs = {n: tf.reshape(p, shape) for n, p in model.scores(*rows, *users).items()}
        return {**outputs, "order": tf.argsort(outputs["p_conversion"], direction="DESCENDING")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(examples):
        spec = {
            "item": tf.io.FixedLenFeature([], tf.string),
            "price": tf.io.FixedLenFeature([], tf.float32),
            "hour_of_day": tf.io.FixedLenFeature([], tf.int64),
            "recent_items": tf.io.VarLenFeature(tf.string),
        }
        parsed = tf.io.parse_example(examples, spec)
        return model.scores(
            parsed["item"],
            parsed["price"],
            parsed["hour_of_day"],
            tf.sparse.to_dense(parsed["recent_items"], ""),
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def slow(x):
        """Seconds of work, in steps that a session can stop between."""
        total, _ = tf.while_loop(
            lambda t, i: i < 10_000_000,
            lambda t, i: (t + 1, i + 1),
            [x, tf.constant(0)],
            parallel_iterations=1,
        )
        return {"y": total + model.bias}

    staging = path.parent / f".staging-{uuid.uuid4().hex}"
    signatures = {"raw": raw, "rank": rank, "serving_default": serving_default, "slow": slow}
    tf.saved_model.save(model, str(staging), signatures=signatures)
    (staging / "assets.extra").mkdir(exist_ok=True)
    types = {name: dtype.name for name, dtype in RAW.items()}
    description = {
        "outputs": list(OUTPUTS),
        "raw_features": types,
        "of_candidate": ["item", "price"],
        "sequence_length": 20,
    }
    (staging / "assets.extra" / "cabb.json").write_text(json.dumps(description))
    staging.rename(path)


def corrupt(path: Path, source: Path, how: str) -> None:
    """A version that cannot be loaded: cut off, without variables or their values, empty, or with a bad
    warm-up request."""
    staging = path.parent / f".staging-{uuid.uuid4().hex}"
    shutil.copytree(source, staging)
    if how == "truncated":
        graph = staging / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[:-200])
    elif how == "no variables":
        shutil.rmtree(staging / "variables")
    elif how == "no values":
        (staging / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    elif how == "empty":
        for each in staging.iterdir():
            shutil.rmtree(each) if each.is_dir() else os.remove(each)
    elif how == "bad warm-up":
        (staging / "assets.extra").mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(staging / WARMUP_FILE)) as writer:
            writer.write(b"\xff\xff\xff no PredictionLog")
    else:
        raise ValueError(how)
    staging.rename(path)


def columns(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw features by name."""
    rng = np.random.default_rng(seed)
    item = np.array([f"item-{i}".encode() for i in rng.integers(0, 30, rows)], object)
    recent = np.array(
        [[f"item-{i}".encode() for i in row] for row in rng.integers(0, 30, (rows, 4))], object
    ).reshape(rows, 4)
    return {
        "item": item,
        "price": rng.lognormal(2, 1, rows).astype(np.float32),
        "hour_of_day": rng.integers(0, 24, rows),
        "recent_items": recent,
    }


def expected(data: dict[str, np.ndarray], bias: float = 0.0) -> np.ndarray:
    """p_caba in NumPy, but for the hash, which TensorFlow defines."""
    hashed = tf.strings.to_hash_bucket_fast(data["item"].tolist(), ITEMS).numpy() / ITEMS
    seen = (data["recent_items"] == data["item"][:, None]).any(1)
    z = bias + data["price"] / 100 + data["hour_of_day"] / 24 + hashed + seen
    return 1 / (1 + np.exp(-z))
