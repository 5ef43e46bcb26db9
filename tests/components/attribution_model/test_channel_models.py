"""Shao & Li and Markov against definitions written as loops, and against public packages."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import reduce
from itertools import pairwise, permutations
from operator import add

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.attribution_model.channel_models import count_channels, markov, removal_effects, shao_li
from components.attribution_model.journeys import concat

from .made_up import CHANNELS, random_journeys

SEEDS = st.integers(0, 2**32 - 1)


def paths_of(journeys) -> list[list[str]]:
    names = np.array(journeys.channels)[journeys.channel]
    return [p.tolist() for p in np.split(names, journeys.start[1:])]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_shao_li_is_the_formula(seed):
    journeys = random_journeys(seed, 40, weighted=True)
    paths = paths_of(journeys)

    def p(*channels):
        held = [set(channels) <= set(path) for path in paths]
        weight = journeys.weight[held].sum()
        return journeys.weight[held & journeys.converted].sum() / weight if weight else 0.0

    wanted = []
    for path in paths:
        for channel in path:
            others = set(path) - {channel}
            second = sum(p(channel, j) - p(channel) - p(j) for j in others) / (2 * max(len(others), 1))
            wanted.append((p(channel) + second) / path.count(channel))
    np.testing.assert_allclose(shao_li(count_channels(journeys), journeys), wanted, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_removal_effects_are_conversions_lost(seed):
    """P(conversion) with every move into the channel sent to no conversion instead, by power iteration."""
    journeys = random_journeys(seed, 60)
    counts = count_channels(journeys)
    moves = Counter()
    for path, converted in zip(paths_of(journeys), journeys.converted, strict=True):
        states = ["start", *path, "yes" if converted else "no"]
        moves.update((a, b) for a, b in pairwise(states) if a != b)

    def conversion(removed: str | None) -> float:
        where = {"start": 1.0}
        reached = 0.0
        for _ in range(600):
            following = Counter()
            for state, mass in where.items():
                out = sum(n for (a, _), n in moves.items() if a == state)
                for (a, b), n in moves.items():
                    if a == state:
                        following[b] += mass * n / out
            reached += following.pop("yes", 0.0)
            following.pop("no", None)
            following.pop(removed, None)
            where = following
        return reached

    whole = conversion(None)
    wanted = [1 - conversion(channel) / whole if whole else 0.0 for channel in CHANNELS]
    np.testing.assert_allclose(removal_effects(counts), wanted, atol=1e-6)


def test_counts_of_folds_add_up():
    journeys = random_journeys(1, 200, weighted=True)
    fold = journeys.user_group % 3
    whole, parts = count_channels(journeys), [count_channels(journeys.take(fold == k)) for k in range(3)]
    total = reduce(add, parts)
    for name in ("with_pair", "converted_pair", "moves"):
        np.testing.assert_allclose(getattr(total, name), getattr(whole, name))


def test_codes_of_parts_are_put_on_common_names():
    one, other = random_journeys(1, 9), random_journeys(2, 9)
    other = replace(other, channels=("zeta", "search", "alpha", "direct"))
    joined = concat([one, other])
    assert paths_of(joined) == paths_of(one) + paths_of(other)
    np.testing.assert_array_equal(joined.start, np.cumsum(joined.size) - joined.size)


@pytest.fixture(scope="module")
def journeys():
    return random_journeys(7, 600)


@pytest.mark.slow  # imports scikit-learn
def test_shao_li_agrees_with_the_mta_package(journeys):
    mta = pytest.importorskip("mta")
    import pandas as pd

    frame = pd.DataFrame(
        {
            "path": [" > ".join(path) for path in paths_of(journeys)],
            "total_conversions": journeys.converted.astype(int),
            "total_null": (~journeys.converted).astype(int),
        }
    )
    theirs = mta.MTA(frame, allow_loops=True, add_timepoints=False).shao(normalize=False).attribution["shao"]
    ours = shao_li(count_channels(journeys), journeys) * journeys.converted[journeys.journey]
    total = np.bincount(journeys.channel, ours, len(CHANNELS))
    np.testing.assert_allclose(total, [theirs[name] for name in CHANNELS], rtol=1e-9)


def test_markov_agrees_with_the_mam_package(journeys):
    pytest.importorskip("mam")
    from mam.models.markov import MarkovModel

    frame = pl.DataFrame(
        {
            "journey_id": np.arange(len(journeys)),
            "channels": paths_of(journeys),
            "has_conversion": journeys.converted,
            "weight": np.ones(len(journeys)),
            "conversion_value": journeys.converted.astype(float),
        }
    )
    model = MarkovModel()
    results = model.get_aggregated_results(frame)
    counts = count_channels(journeys)
    effects = model.removal_effect_df["removal_effect"]
    np.testing.assert_allclose(removal_effects(counts), [effects[name] for name in CHANNELS], rtol=1e-9)
    weight = markov(counts, journeys)
    credit = weight / np.add.reduceat(weight, journeys.start)[journeys.journey]
    credit = credit * journeys.converted[journeys.journey]
    theirs = dict(results.iter_rows())
    total = np.bincount(journeys.channel, credit, len(CHANNELS))
    np.testing.assert_allclose(total, [theirs[name] for name in CHANNELS], rtol=1e-9)


def test_shapley_of_conversions_inside_a_coalition_is_linear_credit():
    """v(S) = conversions of the paths whose channels all lie in S: why no such method is offered."""
    journeys = random_journeys(5, 80)
    sets = [frozenset(p) for p, y in zip(paths_of(journeys), journeys.converted, strict=True) if y]
    shapley, orders = Counter(), list(permutations(CHANNELS))
    for order in orders:
        inside, before = set(), 0
        for channel in order:
            inside.add(channel)
            after = sum(path <= inside for path in sets)
            shapley[channel] += (after - before) / len(orders)
            before = after
    for channel in CHANNELS:
        linear = sum(1 / len(path) for path in sets if channel in path)
        assert shapley[channel] == pytest.approx(linear)
