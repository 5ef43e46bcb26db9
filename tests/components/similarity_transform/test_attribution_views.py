"""Attribution views of random logs against a reference that goes purchase by purchase."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.similarity_transform.attribution_views import (
    AttributionSettings,
    credit_columns,
    normalised,
    rule_credits,
)
from components.similarity_transform.click_examples import example_columns, label_partition
from components.similarity_transform.labels import LabelSettings, find_clicks
from components.similarity_transform.touch_paths import purchase_paths
from models import features as names

from . import attribution_reference, reference
from .event_streams import BOUNDARY, END, GAP, arranged, is_eval, random_events
from .test_click_examples import OBSERVED, SEEDS, events_of, similarity_of

VIEWS = ("last_click", "first_click", "linear", "time_decay", "position_based")
SETTINGS = st.builds(
    AttributionSettings,
    views=st.just(VIEWS),
    scope=st.sampled_from(["same_item", "same_leaf", "related", "any"]),
    related_floor=st.sampled_from([0.05, 0.5, 1.0]),
    look_back_days=st.sampled_from([0.01, 0.25, 2.0]),
    touches=st.sampled_from(["every_click", "one_per_session"]),
    most_touches=st.sampled_from([1, 3, 500]),
    half_life_days=st.sampled_from([0.001, 1.0]),
    position_weights=st.sampled_from([(0.4, 0.4, 0.2), (1.0, 0.0, 0.0), (0.0, 0.3, 0.3)]),
)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SETTINGS)
def test_touches_and_shares_are_the_definitions(seed, chosen):
    rows = random_events(seed)
    events, table = events_of(rows), similarity_of(rows)
    clicks = find_clicks(events)
    paths = purchase_paths(events, clicks, table, chosen)

    def s(a, b):
        return float(table.lookup([a], [b])[0])

    truth = {
        p: found
        for p, row in enumerate(rows)
        if row["event_type"] == "purchase" and (found := attribution_reference.touches_of(rows, p, s, chosen))
    }
    assert paths.end.tolist() == sorted(truth)
    touches = clicks.click[paths.touch]
    for k, p in enumerate(paths.end.tolist()):
        assert touches[paths.path == k].tolist() == truth[p]
    for view in VIEWS:
        credit = rule_credits(view, paths, chosen)
        assert np.all(credit >= 0)
        np.testing.assert_allclose(np.bincount(paths.path, credit), np.ones(len(truth)), atol=1e-12)
        for k, p in enumerate(paths.end.tolist()):
            wanted = attribution_reference.shares(view, rows, truth[p], chosen)
            np.testing.assert_allclose(credit[paths.path == k], wanted, rtol=1e-9, err_msg=view)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SETTINGS)
def test_credits_of_clicks_are_the_definitions(seed, chosen):
    rows = random_events(seed)
    table = similarity_of(rows)
    events = events_of(rows)
    labelled = label_partition(events, table, LabelSettings(), OBSERVED, chosen)
    credits = credit_columns(events, labelled.clicks, table, chosen)
    anchors = labelled.clicks.anchor.tolist()

    def s(a, b):
        return float(table.lookup([a], [b])[0])

    for view in VIEWS:
        truth = attribution_reference.credits(view, rows, anchors, s, chosen)
        columns = [credits[name] for name in names.credit_columns([view])]
        for row, anchor in zip(zip(*columns, strict=True), anchors, strict=True):
            wanted = [np.nan if value is None else value for value in truth[anchor]]
            np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-30, err_msg=view)
    for split in ("train", "eval"):
        kept = [
            anchor
            for anchor in anchors
            if is_eval(rows[anchor]) == (split == "eval")
            and reference.is_mature(rows, anchor, "session", GAP, BOUNDARY, END)
            and attribution_reference.is_final(rows, anchor, chosen, BOUNDARY, END)
        ]
        assert [anchors[e] for e in labelled.rows[split].example] == kept


@settings(max_examples=30, deadline=None)
@given(SEEDS, SEEDS, SETTINGS)
def test_credits_of_train_rows_do_not_see_the_eval_split(seed, other_seed, chosen):
    rows = random_events(seed)
    before = [r for r in rows if not is_eval(r)]
    after = [{**r, "session_id": "later"} for r in random_events(other_seed) if is_eval(r)]
    table = similarity_of(rows)

    def facts(rows):
        events = events_of(rows)
        labelled = label_partition(events, table, LabelSettings(), OBSERVED, chosen)
        credits = credit_columns(events, labelled.clicks, table, chosen)
        train = labelled.rows["train"].example
        return [
            (
                str(rows[int(labelled.clicks.anchor[e])]),
                *(np.nan_to_num(v[e], nan=-1) for v in credits.values()),
            )
            for e in train
        ]

    assert facts(before) == facts(arranged([*before, *after]))


def test_a_path_without_weight_credits_its_last_touch():
    rows = next(r for r in map(random_events, range(20)) if any(x["event_type"] == "purchase" for x in r))
    events = events_of(rows)
    paths = purchase_paths(events, find_clicks(events), similarity_of(rows), AttributionSettings())
    assert len(paths.path) > 0
    np.testing.assert_array_equal(normalised(np.zeros(len(paths.path)), paths), paths.from_end == 0)


def test_columns_are_there_when_configured_and_not_otherwise(tmp_path: Path):
    rows = random_events(3)
    events, table = events_of(rows), similarity_of(rows)
    chosen = AttributionSettings(views=("linear", "last_click"), look_back_days=0.25)
    for views, expected in ((chosen, names.credit_columns(chosen.views)), (AttributionSettings(), ())):
        labelled = label_partition(events, table, LabelSettings(), OBSERVED, views)
        credits = credit_columns(events, labelled.clicks, table, views)
        columns = example_columns({}, labelled.rows["train"], 0.25, credits)
        assert set(filter(names.is_credit, columns)) == set(expected)
        for name in expected:
            assert columns[name].dtype == np.float32
            assert np.all((columns[name] >= 0) & (columns[name] <= 1))
        for view in views.views or ():
            none = columns[names.credit_cabb(view)] == 0
            assert none.any() and np.all(columns[names.credit_alpha(view)][none] == np.float32(0.25))


@pytest.mark.parametrize(
    "bad",
    [{"views": ["linear", "linear"]}, {"views": ["any_click"]}, {"position_weights": [0, 0, 1]}],
)
def test_settings_refuse_what_is_not_possible(bad):
    with pytest.raises(ValueError):
        AttributionSettings.model_validate(bad)
