"""Journeys of random logs against their definition, one session at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.attribution_model.session_journeys import training_journeys
from components.similarity_transform.timeline import timeline
from components.similarity_transform.touch_paths import TouchSettings
from tests.components.similarity_transform.attribution_reference import touches_of
from tests.components.similarity_transform.event_streams import (
    BOUNDARY,
    GAP,
    TIME_ZONE,
    arranged,
    is_eval,
    random_events,
    to_table,
)
from tests.components.similarity_transform.test_click_examples import SEEDS, similarity_of

SETTINGS = st.builds(
    TouchSettings,
    scope=st.sampled_from(["same_item", "same_leaf", "any"]),
    look_back_days=st.sampled_from([0.25, 2.0]),
)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SETTINGS)
def test_journeys_are_the_definition(seed, chosen):
    rows = arranged([r for r in random_events(seed) if not is_eval(r)])
    table = similarity_of(rows)
    if not rows:
        return
    events = timeline(to_table(rows), None, TIME_ZONE)
    journeys = training_journeys(events, table, chosen, "channel", GAP, BOUNDARY)

    def s(a, b):
        return float(table.lookup([a], [b])[0])

    ends = []
    for key in {(r["user_id"], r["session_id"]) for r in rows}:
        mine = [k for k, r in enumerate(rows) if (r["user_id"], r["session_id"]) == key]
        if max(rows[k]["event_time"] for k in mine) + GAP > BOUNDARY:
            continue
        bought = [k for k in mine if rows[k]["event_type"] == "purchase"]
        clicked = [k for k in mine if rows[k]["is_click"]]
        ends += [(k, key) for k in bought] or [(clicked[-1], key) for _ in clicked[-1:]]
    truth = []
    for end, key in sorted(ends):
        touches = touches_of(rows, end, s, chosen)
        if rows[end]["is_click"]:
            touches = [*touches, end]
        if touches:
            truth.append((end, key, touches))
    assert journeys.size.tolist() == [len(touches) for _, _, touches in truth]
    assert journeys.converted.tolist() == [rows[end]["event_type"] == "purchase" for end, _, _ in truth]
    shared = [1 / sum(other == key for _, other, _ in truth) for _, key, _ in truth]
    np.testing.assert_allclose(journeys.weight, shared)
    flat = [(rows[r], rows[touches[-1]]) for _, _, touches in truth for r in touches]
    for name, wanted in {
        "channel": [r["context_channel"] for r, _ in flat],
        "seller": [r["advertiser"] for r, _ in flat],
    }.items():
        names = np.array(getattr(journeys, name + "s"))
        assert names[getattr(journeys, name)].tolist() == wanted
    hours = [(last["event_time"] - r["event_time"]) / 3600e6 for r, last in flat]
    np.testing.assert_allclose(journeys.gap_h, hours, rtol=1e-6)
    visit = ("user_id", "session_id")
    assert journeys.late.tolist() == [float(all(r[k] == last[k] for k in visit)) for r, last in flat]
    assert journeys.same.tolist() == [float(r["item"] == last["item"]) for r, last in flat]
    np.testing.assert_allclose(journeys.relation, [s(r["leaf"], last["leaf"]) for r, last in flat], rtol=1e-6)
