"""Labels and features of random logs against a reference that works from the definitions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.category_similarity.co_engagement import CoEngagement
from components.category_similarity.learning import similarity_table
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.click_examples import (
    Observed,
    example_columns,
    label_partition,
    record_batches,
    write_examples,
)
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import Hours, LabelSettings, find_clicks, find_touches
from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
from components.similarity_transform.timeline import timeline
from models import features as names

from . import reference
from .event_streams import (
    BOUNDARY,
    END,
    GAP,
    TIME_ZONE,
    arranged,
    is_eval,
    random_events,
    split_tables,
    to_table,
)

OBSERVED = Observed(TIME_ZONE, GAP, BOUNDARY, END)
PRICES = {"Toys": 10.0, "Home > Kitchen > Mugs": 4.0}
SEEDS = st.integers(0, 2**32 - 1)
WINDOWS = st.sampled_from(["session", Hours(hours=0.5), Hours(hours=30)])
LABELS = (names.Y_CABA, names.Y_CABB, names.LAST_CLICK_CREDIT, *names.ACTIONS)
POLICIES = st.sampled_from(["per_click", "per_purchase"])


def events_of(rows: list[dict]):
    return timeline(*split_tables(rows), TIME_ZONE)


def similarity_of(rows: list[dict]) -> SimilarityTable:
    train = pl.from_arrow(to_table([r for r in rows if not is_eval(r)]))
    settings = SimilaritySettings()
    return similarity_table({"leaf": CoEngagement.of(train, settings)}, settings)


def features_of(rows: list[dict], window) -> tuple[np.ndarray, dict]:
    events = events_of(rows)
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, window)
    daily = daily_counts(events, clicks, touches, window, GAP, TIME_ZONE)
    return clicks.anchor, click_features(events, clicks, Popularity(sum_counts([daily])), PRICES)


def as_list(values) -> list:
    return values.to_pylist() if isinstance(values, pa.Array) else values.tolist()


@settings(max_examples=60, deadline=None)
@given(SEEDS, WINDOWS, POLICIES, st.sampled_from(["mean", "max"]), st.sampled_from(["per_click", "per_row"]))
def test_labels_are_the_definitions(seed, window, policy, reduce, row_weight):
    rows = random_events(seed)
    table = similarity_of(rows)
    chosen = LabelSettings(window=window, label_policy=policy, alpha_reduce=reduce, row_weight=row_weight)
    labelled = label_partition(events_of(rows), table, chosen, OBSERVED)
    anchors = labelled.clicks.anchor

    def s(a, b):
        return float(table.lookup([a], [b])[0])

    for split in ("train", "eval"):
        truth = reference.labels(rows, s, chosen, policy if split == "train" else "per_click")
        kept = [
            anchor
            for anchor in truth
            if is_eval(rows[anchor]) == (split == "eval")
            and reference.is_mature(rows, anchor, window, GAP, BOUNDARY, END)
        ]
        got = labelled.rows[split]
        found: dict[int, list] = {}
        for k, example in enumerate(got.example):
            alpha = None if np.isnan(got.alpha[k]) else round(float(got.alpha[k]), 5)
            row = (*(float(getattr(got, name)[k]) for name in LABELS), alpha)
            found.setdefault(int(anchors[example]), []).append((*row, round(float(got.row_weight[k]), 5)))
        wanted = {
            anchor: [
                (
                    *(r[name] for name in LABELS),
                    None if r["alpha"] is None else round(float(np.float32(r["alpha"])), 5),
                    round(r["row_weight"], 5),
                )
                for r in truth[anchor]
            ]
            for anchor in kept
        }
        assert list(found) == sorted(found)
        assert {k: sorted(map(str, v)) for k, v in found.items()} == {
            k: sorted(map(str, v)) for k, v in wanted.items()
        }
        in_split = [a for a in truth if is_eval(rows[a]) == (split == "eval")]
        assert labelled.immature[split] == len(in_split) - len(kept)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_held_out_days_are_the_last_of_training_and_change_nothing_else(seed):
    rows = random_events(seed)
    table, middle = similarity_of(rows), (min(r["event_time"] for r in rows) + BOUNDARY) // 2
    whole = label_partition(events_of(rows), table, LabelSettings(), OBSERVED)
    apart = label_partition(
        events_of(rows), table, LabelSettings(), dataclasses.replace(OBSERVED, holdout_start=middle)
    )
    time = events_of(rows).time[whole.clicks.anchor]
    parts = {split: apart.rows[split].example for split in ("train", "holdout")}
    assert (time[parts["train"]] < middle).all() and (time[parts["holdout"]] >= middle).all()
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), whole.rows["train"].example)
    np.testing.assert_array_equal(apart.rows["eval"].example, whole.rows["eval"].example)
    assert sum(apart.immature.values()) == sum(whole.immature.values())
    for name in ("y_caba", "y_cabb", "alpha"):
        joined = np.concatenate([getattr(apart.rows[split], name) for split in parts])
        order = np.argsort(np.concatenate(list(parts.values())), kind="stable")
        np.testing.assert_array_equal(joined[order], getattr(whole.rows["train"], name))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(["user", "session"]))
def test_alpha_leaves_out_what_the_user_did(seed, unit):
    rows = random_events(seed)
    chosen = SimilaritySettings(unit=unit, damping="idf", shrinkage=0.5, leave_user_out=True)
    train = pl.from_arrow(to_table([r for r in rows if not is_eval(r)]))
    table = similarity_table({"leaf": CoEngagement.of(train, chosen)}, chosen)
    labelled = label_partition(events_of(rows), table, LabelSettings(), OBSERVED)
    anchors = labelled.clicks.anchor
    got = {
        int(anchors[example]): alpha
        for split in ("train", "eval")
        for example, alpha in zip(labelled.rows[split].example, labelled.rows[split].alpha, strict=True)
        if not np.isnan(alpha)
    }
    for user in {rows[anchor]["user_id"] for anchor in got}:
        others = CoEngagement.of(train.filter(pl.col("user_id") != user), chosen)
        known = CoEngagement.nothing(table.leaves, chosen)
        without = similarity_table({"leaf": CoEngagement.merge([others, known])}, chosen)
        truth = reference.labels(
            rows, lambda a, b, s=without: float(s.lookup([a], [b])[0]), LabelSettings(), "per_click"
        )
        for anchor, alpha in got.items():
            if rows[anchor]["user_id"] == user:
                assert alpha == pytest.approx(truth[anchor][0]["alpha"], abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(SEEDS, WINDOWS)
def test_each_purchase_credits_one_click_or_none(seed, window):
    rows = random_events(seed)
    events = events_of(rows)
    clicks = find_clicks(events)
    touches = find_touches(events, clicks, window)
    owner = reference.credited(rows, window)
    holders = {
        int(p): int(clicks.anchor[e])
        for e, p, last in zip(touches.example, touches.purchase, touches.last_click, strict=True)
        if last
    }
    assert holders == owner
    assert touches.last_click.sum() == len(np.unique(touches.purchase))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_per_purchase_rows_of_a_click_weigh_one(seed):
    rows = random_events(seed)
    labelled = label_partition(
        events_of(rows), similarity_of(rows), LabelSettings(label_policy="per_purchase"), OBSERVED
    )
    train = labelled.rows["train"]
    weights = np.bincount(train.example, weights=train.row_weight)
    np.testing.assert_allclose(weights[np.unique(train.example)], 1.0, rtol=1e-6)
    assert np.all(train.y_caba + train.y_cabb <= 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, WINDOWS)
def test_features_are_the_definitions(seed, window):
    rows = random_events(seed)
    anchors, columns = features_of(rows, window)
    assert anchors.tolist() == reference.examples(rows)
    expected = {*names.STRINGS, *names.INTEGERS, *names.NUMERIC, *names.SEQUENCES, "context_channel"}
    assert set(columns) == expected
    truth = [reference.features(rows, r, window, GAP, TIME_ZONE, PRICES) for r in anchors.tolist()]
    for name in sorted(expected):
        got, wanted = as_list(columns[name]), [each[name] for each in truth]
        if name in names.NUMERIC:
            np.testing.assert_allclose(got, np.array(wanted, np.float32), rtol=1e-5, err_msg=name)
        else:
            assert got == wanted, name


@settings(max_examples=40, deadline=None)
@given(SEEDS, SEEDS, WINDOWS, st.data())
def test_no_feature_sees_the_future(seed, other_seed, window, data):
    """Everything after an anchor is replaced, of its user and of all others: its features do not change."""
    rows = random_events(seed)
    anchors, columns = features_of(rows, window)
    if not len(anchors):
        return
    which = data.draw(st.integers(0, len(anchors) - 1))
    anchor = rows[int(anchors[which])]
    now = anchor["event_time"]
    past = [
        r
        for k, r in enumerate(rows)
        if r["event_time"] < now or (r["user_id"] == anchor["user_id"] and k <= anchors[which])
    ]
    future = [dict(r) for r in random_events(other_seed) if r["event_time"] > now]
    changed = arranged([*past, *future])  # stable: the past's ties keep their order
    new_anchors, new_columns = features_of(changed, window)
    at = new_anchors.tolist().index(next(k for k, r in enumerate(changed) if r is anchor))
    for name in columns:
        assert as_list(columns[name])[which] == as_list(new_columns[name])[at], name


@settings(max_examples=40, deadline=None)
@given(SEEDS, SEEDS, WINDOWS)
def test_train_labels_do_not_see_the_eval_split(seed, other_seed, window):
    rows = random_events(seed)
    before = [r for r in rows if not is_eval(r)]
    # Sessions of their own, so that no training session goes on: that drops an example, not a label.
    after = [{**r, "session_id": "later"} for r in random_events(other_seed) if is_eval(r)]
    changed = arranged([*before, *after])
    table, chosen = similarity_of(rows), LabelSettings(window=window)
    alone = label_partition(events_of(before), table, chosen, OBSERVED)
    both = label_partition(events_of(changed), table, chosen, OBSERVED)

    def facts(labelled, rows):
        train = labelled.rows["train"]
        return [
            (
                str(rows[int(labelled.clicks.anchor[e])]),
                *(np.nan_to_num(v[k], nan=-1) for v in list(vars(train).values())[1:]),
            )
            for k, e in enumerate(train.example)
        ]

    assert facts(alone, before) == facts(both, changed)
    assert alone.immature["train"] == both.immature["train"]


def test_twins_and_reclicks_make_one_example_and_the_reclick_takes_the_credit():
    def row(second, kind, item, is_click):
        return {
            **random_row,
            "event_time": start + second * 1_000_000,
            "event_type": kind,
            "item": item,
            "leaf": "Toys",
            "is_click": is_click,
        }

    start = BOUNDARY - 7_200_000_000
    random_row = next(r for seed in range(9) for r in random_events(seed))
    rows = [
        row(0, "purchase", "b", False),  # before the anchor: no label
        row(1, "click", "a", True),
        row(2, "detail_view", "a", False),  # the click's twin
        row(9, "click", "b", True),
        row(60, "click", "a", True),  # a re-click: a's example holds the latest click
        row(90, "purchase", "b", False),
        row(91, "purchase", "c", False),
    ]
    labelled = label_partition(events_of(rows), similarity_of(rows), LabelSettings(), OBSERVED)
    train = labelled.rows["train"]
    assert [rows[r]["item"] for r in labelled.clicks.anchor] == ["a", "b"]
    assert train.y_caba.tolist() == [0, 1]
    assert train.y_cabb.tolist() == [1, 1]
    assert train.last_click_credit.tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_examples_decode_to_what_was_written(tmp_path: Path, seed):
    """Zeros, empty strings and empty sequences survive the standard gzip TFRecord reader."""
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    rows = random_events(seed)
    _, features = features_of(rows, "session")
    labelled = label_partition(events_of(rows), similarity_of(rows), LabelSettings(), OBSERVED)
    columns = example_columns(features, labelled.rows["train"], 0.25)
    path = tmp_path / "Split-train" / "click_examples-00000-of-00001.gz"
    write_examples(columns, path)
    assert [p.name for p in tmp_path.iterdir()] == ["Split-train"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]

    import tensorflow as tf

    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path), compression_type="GZIP")]
    assert len(records) == len(columns["y_any"]) > 0
    ordered = [tf.train.Example.FromString(each).SerializeToString(deterministic=True) for each in records]
    assert records == ordered
    again = tmp_path / "again.gz"
    write_examples(columns, again)
    assert again.read_bytes() == path.read_bytes()
    decoded = ExamplesToRecordBatchDecoder().DecodeBatch(records)
    written = {**dict(zip(*_first_batch(columns), strict=True))}
    assert (
        set(decoded.schema.names)
        == set(written)
        == {
            *names.STRINGS,
            *names.INTEGERS,
            *names.FLOATS,
            *names.SEQUENCES,
            "context_channel",
        }
    )
    for name, wanted in written.items():
        got = decoded.column(decoded.schema.get_field_index(name)).to_pylist()
        assert got == wanted.to_pylist(), name
    assert [b""] in written["brand"].to_pylist()
    assert [0.0] in written["session_clicks"].to_pylist()
    assert [] in written["recent_items"].to_pylist()


def _first_batch(columns):
    batch = next(record_batches(columns))
    return batch.schema.names, batch.columns


def test_settings_refuse_what_is_not_known():
    assert LabelSettings.model_validate(json.loads('{"window": {"hours": 24}}')).window == Hours(hours=24)
    for bad in ({"window": "day"}, {"window": {"hours": 0}}, {"label_polcy": "per_click"}):
        with pytest.raises(ValueError):
            LabelSettings.model_validate(bad)
