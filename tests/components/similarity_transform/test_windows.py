"""Windows of hours: nothing after a window, or after a split's end, reaches a label or a feature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.similarity_transform.click_examples import example_columns, label_partition
from components.similarity_transform.click_features import click_features
from components.similarity_transform.labels import HOUR, Hours, LabelSettings
from components.similarity_transform.popularity import Popularity, daily_counts, sum_counts
from models import features as names

from .event_streams import BOUNDARY, END, GAP, TIME_ZONE, arranged, is_eval, random_events
from .test_click_examples import LABELS, OBSERVED, PRICES, SEEDS, as_list, events_of, similarity_of

HOURS = st.sampled_from([0.5, 2, 30])


def facts_of(rows: list[dict], window: Hours, table) -> dict[int, tuple]:
    """Position of each mature click's event -> its labels, in both splits."""
    labelled = label_partition(events_of(rows), table, LabelSettings(window=window), OBSERVED)
    found = {}
    for part in labelled.rows.values():
        for k, example in enumerate(part.example):
            values = (getattr(part, name) for name in (*LABELS, names.ALPHA))
            found[id(rows[int(labelled.clicks.anchor[example])])] = tuple(
                float(np.nan_to_num(each[k], nan=-1)) for each in values
            )
    return found


@settings(max_examples=25)
@given(SEEDS, SEEDS, HOURS, st.data())
def test_what_follows_the_window_does_not_change_a_label(seed, other_seed, hours, data):
    rows, window = random_events(seed), Hours(hours=hours)
    table = similarity_of(rows)
    before = facts_of(rows, window, table)
    clicks = [row for row in rows if id(row) in before]
    assume(clicks)
    click = data.draw(st.sampled_from(clicks))
    closes = click["event_time"] + int(hours * HOUR)
    kept = [row for row in rows if row["event_time"] <= closes]
    new = [dict(row) for row in random_events(other_seed) if row["event_time"] > closes]
    assert facts_of(arranged([*kept, *new]), window, table)[id(click)] == before[id(click)]
    assert facts_of(kept, window, table)[id(click)] == before[id(click)]


@settings(max_examples=15)
@given(SEEDS)
def test_a_longer_window_only_adds_positives_and_drops_young_clicks(seed):
    rows = random_events(seed)
    table = similarity_of(rows)
    short, long = (facts_of(rows, Hours(hours=hours), table) for hours in (2, 30))
    assert set(long) <= set(short)
    for click, labels in long.items():
        for name, later, sooner in zip((*LABELS, names.ALPHA), labels, short[click], strict=True):
            assert later >= sooner or name in (names.LAST_CLICK_CREDIT, names.ALPHA), name
    of = {id(row): row for row in rows}
    for click in long:
        end = END if is_eval(of[click]) else BOUNDARY
        assert of[click]["event_time"] + 30 * HOUR <= end


@pytest.mark.parametrize("seed", range(3))
def test_the_evaluation_days_do_not_reach_a_training_row(seed):
    """Other evaluation days give the same training rows: labels, weights, popularity and all."""
    window = Hours(hours=30)
    rows = random_events(seed, users=9, per_user=40)
    train = [row for row in rows if not is_eval(row)]
    other = [{**row, "session_id": "later"} for row in random_events(seed + 9, 9, 40) if is_eval(row)]
    one, another = (training_rows(each, window) for each in (rows, arranged([*train, *other])))
    assert len(as_list(one["y_any"])) > 0
    for name, values in one.items():
        assert as_list(values) == as_list(another[name]), name


def training_rows(rows: list[dict], window: Hours) -> dict:
    events, table = events_of(rows), similarity_of(rows)
    labelled = label_partition(events, table, LabelSettings(window=window), OBSERVED)
    daily = daily_counts(events, labelled.clicks, labelled.touches, window, GAP, TIME_ZONE)
    features = click_features(events, labelled.clicks, Popularity(sum_counts([daily])), PRICES)
    return example_columns(features, labelled.rows["train"], 0.5)


def test_a_window_that_ends_with_training_does_not_see_the_first_event_after_it():
    """An event at the boundary is inside the window of a click just as old, and belongs to the eval split."""
    click = next(r for seed in range(9) for r in random_events(seed)) | {
        "event_time": BOUNDARY - 30 * HOUR,
        "event_type": "click",
        "is_click": True,
    }
    later = [
        {**click, "event_time": BOUNDARY, "event_type": kind, "is_click": False, "item": item}
        for kind in ("add_to_cart", "checkout", "purchase")
        for item in (click["item"], "another")
    ]
    sooner = [{**row, "event_time": BOUNDARY - 1} for row in later]
    for rows, expected in (([click, *later], 0), ([click, *sooner], 1)):
        labelled = label_partition(
            events_of(rows), similarity_of(rows), LabelSettings(window=Hours(hours=30)), OBSERVED
        )
        train = labelled.rows["train"]
        for name in (names.Y_CABA, names.Y_CABB, *names.ACTIONS):
            assert getattr(train, name).tolist() == [expected], name
