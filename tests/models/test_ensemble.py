"""Members side by side: what they learn, and what they serve together."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from models import features as names
from models import registry
from models.conversion_model import TOTAL_LOSS
from models.ensemble import Ensemble
from models.metrics import sums
from models.settings import ModelSettings
from tests.models.test_cabb import SPACE, batch


def ensemble(model="cabb", **settings):
    tf_keras.utils.set_random_seed(0)
    return registry.create(ModelSettings(model=model, **settings), SPACE)


def test_the_mean_of_the_members_is_served_and_no_worse_than_they_are():
    features, labels = batch()
    whole = ensemble(members=3)
    served = whole(features)
    for output, label in names.LABEL_OF_OUTPUT.items():
        members = np.stack([member(features)[output] for member in whole._members])
        assert (members.std(axis=0) > 0).all()
        np.testing.assert_allclose(served[output], members.mean(axis=0), rtol=1e-5)
        y = labels[label].numpy()[:, np.newaxis]
        apart = np.mean([sums.cross_entropy(y, p).mean() for p in members])
        assert sums.cross_entropy(y, served[output].numpy()).mean() < apart


@pytest.mark.parametrize("lambda_cabb", [0.75, "bilevel"])
def test_a_member_learns_as_it_would_alone(lambda_cabb):
    features, labels = batch()
    whole = ensemble(members=2, lambda_cabb=lambda_cabb)
    whole(features)
    with tf.GradientTape(persistent=True) as tape:
        together = whole.losses_of(whole.logits(features, training=False), labels)
        apart = [m.losses_of(m.logits(features, training=False), labels) for m in whole._members]
    assert set(together) == set(apart[0])
    for name in set(together) - {TOTAL_LOSS}:
        np.testing.assert_allclose(together[name], np.mean([each[name] for each in apart]), rtol=1e-5)
    for member, losses in zip(whole._members, apart, strict=True):
        variables = [v for v in member.trainable_variables if "embedding" not in v.name]
        expected = tape.gradient(losses[TOTAL_LOSS], variables)
        for found, gradient in zip(tape.gradient(together[TOTAL_LOSS], variables), expected, strict=True):
            np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-6)


def test_a_learned_lambda_is_one_for_all_members():
    features, labels = batch()
    whole = ensemble(members=3, lambda_cabb="uncertainty")
    whole(features)
    assert all(member.balance is whole.balance for member in whole._members)
    variables = [v for v in whole.trainable_variables if v.name.startswith("log_variances")]
    assert len(variables) == 1
    shown = float(whole.losses_of(whole.logits(features), labels)["lambda_cabb"])
    assert shown == pytest.approx(float(whole.balance.value()))


def test_one_member_is_no_ensemble():
    assert not isinstance(ensemble(members=1), Ensemble)
    with pytest.raises(ValueError, match="members"):
        ModelSettings(members=0)
