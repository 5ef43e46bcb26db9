"""Rows of a file of journeys: credits and features by their definitions, touch by touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.attribution_model.attention import AttentionSettings
from components.attribution_model.mta import MtaSettings
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.attribution_views import AttributionSettings
from experiments import mal
from experiments.attribution.journey_file import VISIT_S, read_touches
from experiments.journey_rows import DAY_S, JourneyRecipe, prepare_journeys, touch_credits, touch_inputs
from models import features as names
from models.feature_space import NUMERIC
from schemas.errors import InputError

DAYS, LOOK_BACK = 12, 2.0
MTA = MtaSettings(folds=2, attention=AttentionSettings(units=4, epochs=1))
ATTRIBUTION = AttributionSettings(views=mal.VIEWS, look_back_days=LOOK_BACK, mta=MTA)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    size = rng.integers(1, 7, 600)
    journey = np.repeat(np.arange(600), size)
    begin = rng.integers(0, (DAYS - 3) * DAY_S, 600)
    rows = pl.DataFrame(
        {
            "journey": journey,
            "user": journey // 2,
            "channel": rng.choice(list("abc"), len(journey)),
            "time": begin[journey] + rng.choice([600, 3 * DAY_S], len(journey)) * rng.random(len(journey)),
            "converted": (rng.random(600) < 0.3)[journey].astype(int),
        }
    )
    path = tmp_path_factory.mktemp("journeys") / "journeys.parquet"
    rows.sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    return path


def recipe(path: Path, **attribution) -> JourneyRecipe:
    return JourneyRecipe(
        path=path,
        fingerprint="none",
        windows=SplitWindows(eval_start="1970-01-07"),
        attribution=ATTRIBUTION.model_copy(update=attribution),
    )


@pytest.mark.parametrize("touches", ["every_click", "one_per_session"])
@pytest.mark.parametrize("most", [2, 500])
def test_credits_are_those_of_the_touches_that_count(path, touches, most):
    rows = read_touches(path)
    settings = ATTRIBUTION.model_copy(update={"touches": touches, "most_touches": most})
    found = touch_credits(rows, settings, 6 * DAY_S)
    wanted = {view: np.zeros(len(rows)) for view in ("last_click", "first_click", "linear")}
    for (_,), journey in rows.with_row_index("row").group_by("journey", maintain_order=True):
        time, row = journey["time"].to_list(), journey["row"].to_list()
        if not journey["converted"][0]:
            continue
        count = [
            k
            for k in range(len(row))[-most:]
            if time[-1] - time[k] <= LOOK_BACK * DAY_S
            and (touches == "every_click" or k == len(row) - 1 or time[k + 1] - time[k] > VISIT_S)
        ]
        wanted["last_click"][row[count[-1]]] = wanted["first_click"][row[count[0]]] = 1
        for k in count:
            wanted["linear"][row[k]] = 1 / len(count)
    for view, credit in wanted.items():
        np.testing.assert_allclose(found[names.credit(view)], credit, err_msg=view)
    mta = found[names.credit("mta")]
    assert mta.sum() == pytest.approx(wanted["linear"].sum()) and not mta[wanted["linear"] == 0].any()
    for view in mal.VIEWS:
        parts = found[names.credit_caba(view)] + found[names.credit_cabb(view)]
        np.testing.assert_allclose(found[names.credit(view)], parts)


def test_features_are_as_of_the_touch(path):
    rows = read_touches(path)
    train = np.arange(len(rows))
    inputs, space = touch_inputs(rows, train)
    users = rows.with_row_index("row").sort("user", "time", "row")
    one = users.filter(pl.col("user") == users["user"].mode()[0])
    row, channel, time = one["row"].to_list(), one["channel"].to_list(), one["time"].to_list()
    raw = {name: inputs[NUMERIC][:, k] for k, name in enumerate(space.numeric)}
    order = np.argsort(raw["touches"][row], kind="stable")
    assert order.tolist() == list(range(len(row)))
    for k in range(len(row)):
        recent = [" abc".index(c) for c in reversed(channel[:k])]
        assert inputs["recent_channels"][row[k]].tolist() == recent + [0] * (20 - len(recent))
        assert raw["known_since_touch_s"][row[k]] == (k > 0)
        assert raw["known_since_channel_s"][row[k]] == (channel[k] in channel[:k])
        assert inputs["hour_of_day"][row[k]] == int(time[k]) // 3600 % 24 + 1
    # What happens later changes nothing: keep each touch and what came before it.
    cut = float(np.median(rows["time"].to_numpy()))
    before = np.flatnonzero(rows["time"].to_numpy() <= cut)
    some, _ = touch_inputs(rows, before)
    alone, _ = touch_inputs(rows[before], np.arange(len(before)))
    for name, values in alone.items():
        np.testing.assert_allclose(values, some[name][before], atol=1e-5, err_msg=name)


def test_rows_are_followed_for_the_look_back_inside_their_split(path, tmp_path):
    prepared = prepare_journeys(recipe(path), tmp_path)
    day = prepared.event_time / 1e6 / DAY_S
    train, evaluation = day[: prepared.train_rows], day[prepared.evaluation]
    last = read_touches(path)["time"].max() / DAY_S
    assert train.max() <= 6 - LOOK_BACK and evaluation.min() >= 6 and evaluation.max() <= last - LOOK_BACK
    assert (prepared.home / "meta.json").stat().st_mtime == (
        prepare_journeys(recipe(path), tmp_path).home / "meta.json"
    ).stat().st_mtime
    for name, size in prepared.space.cardinality.items():
        assert prepared.inputs[name].min() >= 1 and prepared.inputs[name].max() < size
    assert set(prepared.categories()) == {"a", "b", "c"}
    late = recipe(path).model_copy(update={"windows": SplitWindows(eval_start="1970-01-30")})
    with pytest.raises(InputError, match=r"no touch in the eval days"):
        prepare_journeys(late, tmp_path)


@pytest.mark.slow
def test_the_models_of_views_learn_from_them(path, tmp_path):
    from experiments.trials import Plan, run_trials

    prepared = prepare_journeys(recipe(path), tmp_path / "data")
    chosen = [mal.variants("last_click")[name] for name in (mal.BASE, mal.MAL)]
    plan = Plan(seeds=(1,), holdout_days=3, refit=False)
    trials = run_trials(prepared, chosen, plan, tmp_path / "trials", workers=0)
    for variant in chosen:
        p = trials[variant.name][0].evaluation[names.P_CONVERSION]
        assert len(p) == prepared.facts["eval_rows"] and 0 < p.std() < 0.5
