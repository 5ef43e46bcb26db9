"""From session files to shards of tf.Examples through Beam: same content whatever the partitioning."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components.category_similarity.learning import learn_similarity
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity_beam import build_similarity
from components.similarity_transform.click_examples_beam import build_click_examples, observed_until
from components.similarity_transform.labels import LabelSettings
from schemas.errors import InputError

from . import reference
from .event_streams import BOUNDARY, END, GAP, TIME_ZONE, is_eval, random_events, write_sessions

EVAL_START = date(2024, 3, 12)
PRICES = {"Toys": 10.0}


def make_pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))


def build(rows: list[dict], home: Path, partitions: int, settings: LabelSettings) -> dict:
    sessions = write_sessions(rows, home / "sessions", partitions)
    build_similarity(sessions, home / "similarity", SimilaritySettings(), make_pipeline)
    observed = observed_until(sessions, TIME_ZONE, GAP / 60e6, EVAL_START, EVAL_START + timedelta(days=2))
    assert observed.train_end == BOUNDARY
    assert observed.eval_end == min(END, max(row["event_time"] for row in rows))
    return build_click_examples(
        sessions, home / "similarity", home / "examples", settings, observed, make_pipeline, PRICES
    )


def decoded(home: Path, split: str) -> list[dict]:
    import tensorflow as tf

    files = sorted(str(p) for p in (home / "examples" / f"Split-{split}").iterdir())
    rows = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        example = tf.train.Example.FromString(record.numpy())
        row = {}
        for name, feature in example.features.feature.items():
            row[name] = list(getattr(feature, feature.WhichOneof("kind") or "float_list").value)
        rows.append(row)
    return sorted(rows, key=str_key)


def str_key(row: dict) -> str:
    return str([row[k] for k in ("user_id", "session_id", "event_time_us", "item", "y_caba", "y_cabb")])


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return random_events(seed=7, users=9, per_user=40)


def test_examples_do_not_depend_on_the_partitioning(rows, tmp_path):
    settings = LabelSettings(label_policy="per_purchase")
    one = build(rows, tmp_path / "one", 1, settings)
    five = build(rows, tmp_path / "five", 5, settings)
    assert one == five
    for split in ("train", "eval"):
        assert decoded(tmp_path / "one", split) == decoded(tmp_path / "five", split)
    shards = sorted(p.name for p in (tmp_path / "five/examples/Split-eval").iterdir())
    assert shards == [f"click_examples-{p:05d}-of-00005.gz" for p in range(5)]
    assert sorted(p.name for p in (tmp_path / "five/examples").iterdir()) == [
        "Split-eval",
        "Split-train",
        "label_counts.json",
    ]


def test_counts_and_values_are_those_of_the_definitions(rows, tmp_path):
    counts = build(rows, tmp_path, 4, LabelSettings())
    assert counts == json.loads((tmp_path / "examples/label_counts.json").read_text())
    eval_end = min(END, max(row["event_time"] for row in rows))
    anchors = reference.examples(rows)
    for split in ("train", "eval"):
        examples = decoded(tmp_path, split)
        mine = [a for a in anchors if is_eval(rows[a]) == (split == "eval")]
        kept = [a for a in mine if reference.is_mature(rows, a, "session", GAP, BOUNDARY, eval_end)]
        assert counts[split]["rows"] == counts[split]["clicks"] == len(examples) == len(kept) > 0
        assert counts[split]["immature"] == len(mine) - len(kept)
        assert counts[split]["y_cabb"] == sum(e["y_cabb"] == [1.0] for e in examples)
        assert sum(counts[split]["alpha_histogram"]) == counts[split]["y_cabb"]
        truth = {
            (rows[a]["user_id"], rows[a]["session_id"], rows[a]["item"]): reference.features(
                rows, a, "session", GAP, TIME_ZONE, PRICES
            )
            for a in kept
        }
        for example in examples:
            key = tuple(example[k][0].decode() for k in ("user_id", "session_id", "item"))
            for name, wanted in truth[key].items():
                got = example[name]
                if isinstance(wanted, str):
                    assert got == [wanted.encode()], name
                elif isinstance(wanted, list):
                    assert got == [each.encode() for each in wanted], name
                else:
                    np.testing.assert_allclose(got, [np.float32(wanted)], rtol=1e-5, err_msg=name)
    train = decoded(tmp_path, "train")
    positive = [e["alpha"][0] for e in train if e["y_cabb"] == [1.0]]
    negative = {
        e["alpha"][0] for split in ("train", "eval") for e in decoded(tmp_path, split) if e["y_cabb"] == [0.0]
    }
    assert len(negative) == 1
    assert negative.pop() == pytest.approx(np.mean(positive), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "i2i", "item_support": 1, "rank": 3, "half_life_days": 2.0},
        {"damping": "idf", "back_off": 2.0, "leave_user_out": True},
    ],
)
def test_similarity_through_beam_is_the_one_learned_in_process(rows, tmp_path, options):
    rows = [*rows, {**rows[-1], "event_time": END - 1, "leaf": "Home > Kitchen > Never Trained"}]
    sessions = write_sessions(rows, tmp_path / "sessions", 3)
    chosen = SimilaritySettings(**options)
    beamed = build_similarity(sessions, tmp_path / "similarity", chosen, make_pipeline)
    learned = learn_similarity(sessions, chosen)
    np.testing.assert_array_equal(beamed.leaves, learned.leaves)
    np.testing.assert_array_equal(beamed.cosine, learned.cosine)
    if "back_off" in options:
        assert beamed.lookup(["Home > Kitchen > Never Trained"], ["Home > Kitchen > Mugs"])[0] > 0
        np.testing.assert_allclose(beamed.sums.dot, learned.sums.dot, rtol=1e-12)
    else:
        assert beamed.items.items.tolist() == learned.items.items.tolist() != []
        assert beamed.lookup(["Home > Kitchen > Never Trained"], ["Home > Kitchen > Mugs"])[0] == 0


def test_an_empty_split_is_an_error_that_says_so(rows, tmp_path):
    before = [row for row in rows if not is_eval(row)]
    sessions = write_sessions(before, tmp_path / "sessions", 2)
    build_similarity(sessions, tmp_path / "similarity", SimilaritySettings(), make_pipeline)
    observed = observed_until(sessions, TIME_ZONE, 30, EVAL_START)
    with pytest.raises(InputError, match="eval split has no click example"):
        build_click_examples(
            sessions, tmp_path / "similarity", tmp_path / "examples", LabelSettings(), observed, make_pipeline
        )
    with pytest.raises(InputError, match="holds no sessions"):
        observed_until(tmp_path, TIME_ZONE, 30, EVAL_START)
    with pytest.raises(InputError, match="no training sessions"):
        build_similarity(tmp_path, tmp_path / "s", SimilaritySettings(), make_pipeline)
