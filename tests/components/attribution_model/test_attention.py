"""The attention model: its gradients, what it learns, and the credit that follows."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from components.attribution_model import attention
from components.attribution_model.attention import AttentionSettings, fit_attention
from components.attribution_model.mta import Mta, MtaSettings, fit_mta
from schemas.errors import InputError

from .made_up import CHANNELS, EFFECT, random_journeys

SMALL = AttentionSettings(units=8, epochs=4, batch_journeys=128, rare_seller_touches=1)


@pytest.fixture(scope="module")
def journeys():
    return random_journeys(3, 6000)


@pytest.fixture(scope="module")
def fitted(journeys):
    return fit_attention(journeys, SMALL)


def test_gradients_are_the_derivative_of_the_loss():
    journeys = random_journeys(0, 12, weighted=True)
    rng = np.random.default_rng(1)
    f = attention.features(journeys, CHANNELS, ("a",))
    weights = attention._initial(rng, f.shape[1], 5, 0.2)
    weights = {name: np.asarray(value + rng.normal(0, 0.3, value.shape)) for name, value in weights.items()}
    y, keep = journeys.converted.astype(float), rng.random(len(journeys.channel)) < 0.7
    arguments = (f, journeys.size, keep, y, journeys.weight)
    gradients = attention._gradients(weights, *arguments)
    assert set(gradients) == set(weights)
    for name, value in weights.items():
        for place in itertools.islice(np.ndindex(value.shape), 40):
            moved = {key: each.copy() for key, each in weights.items()}
            step = 1e-6
            moved[name][place] += step
            up = attention.loss(moved, *arguments)
            moved[name][place] -= 2 * step
            down = attention.loss(moved, *arguments)
            assert math.isclose(gradients[name][place], (up - down) / (2 * step), abs_tol=1e-7), (name, place)


def test_the_same_journeys_give_the_same_model(journeys, fitted):
    again = fit_attention(journeys, SMALL)
    for name, value in fitted.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)


def test_removal_effects_are_of_what_was_removed(journeys, fitted):
    some = journeys.take(np.arange(50))
    effects = fitted.removal_effects(some)
    whole = fitted.value(some)
    for touch in range(len(some.channel)):
        keep = np.arange(len(some.channel)) != touch
        j = some.journey[touch]
        wanted = max(whole[j] - fitted.value(some, keep)[j], 0)
        assert math.isclose(effects[touch], wanted, abs_tol=1e-12)


def test_credit_follows_the_planted_effects(journeys, fitted):
    effects = fitted.removal_effects(journeys)
    mean = [effects[journeys.channel == code].mean() for code in range(len(CHANNELS))]
    assert mean[2] > 2 * mean[3] > 4 * max(mean[0], mean[1])
    assert EFFECT[2] > EFFECT[3] > 0


def test_shapley_values_approach_the_exact_ones_and_sum_to_what_all_touches_add(journeys, fitted):
    some = journeys.take(np.flatnonzero(journeys.size <= 4)[:30])
    values = fitted.shapley_values(some, 200)
    none = fitted.value(some, np.zeros(len(some.channel), bool))
    np.testing.assert_allclose(np.add.reduceat(values, some.start), fitted.value(some) - none, atol=1e-10)
    exact = np.zeros(len(values))
    for j, (start, n) in enumerate(zip(some.start, some.size, strict=True)):
        for order in itertools.permutations(range(n)):
            keep = np.zeros(len(some.channel), bool)
            before = none[j]
            for touch in order:
                keep[start + touch] = True
                after = fitted.value(some, keep)[j]
                exact[start + touch] += (after - before) / math.factorial(n)
                before = after
    np.testing.assert_allclose(values, exact, atol=0.01)
    alone = fitted.shapley_values(some.take(np.arange(3)), 200)
    np.testing.assert_allclose(alone, values[: len(alone)], atol=1e-12)


def test_what_training_never_saw_counts_for_nothing(journeys, fitted):
    one = journeys.take(journeys.size == 1)
    other = replace(one, channels=tuple(f"new {name}" for name in one.channels))
    same = replace(one, channel=np.zeros_like(one.channel), channels=("new",))
    np.testing.assert_allclose(fitted.value(other), fitted.value(same))


@pytest.mark.parametrize("method", ["attention", "shapley", "shao_li", "markov"])
def test_no_user_is_credited_by_a_model_that_saw_them(method, journeys, tmp_path):
    settings = MtaSettings(method=method, folds=2, shapley_orders=2, attention=SMALL)
    few = journeys.take(np.arange(1500))
    fitted = fit_mta(few, settings)
    fitted.save(tmp_path)
    loaded = Mta.load(tmp_path)
    effects = fitted.effects(few)
    assert np.all(effects >= 0) and effects.max() > 0
    np.testing.assert_array_equal(loaded.effects(few), effects)
    # Other outcomes of one fold's users change the credit of the other fold's users only.
    mine = few.user_group % 2 == 0
    flipped = replace(few, converted=few.converted ^ mine)
    changed = fit_mta(flipped, settings).effects(few)
    touched = mine[few.journey]
    np.testing.assert_array_equal(changed[touched], effects[touched])
    assert np.abs(changed[~touched] - effects[~touched]).max() > 0


def test_held_out_metrics_and_refusals(journeys):
    meta = fit_mta(journeys, MtaSettings(folds=2, attention=SMALL)).meta
    assert 0.6 < meta["auc"] < 0.9 and 0.7 < meta["ne"] < 1
    with pytest.raises(InputError, match="too few"):
        fit_mta(journeys.take(~journeys.converted), MtaSettings())
