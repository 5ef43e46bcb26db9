"""Every layer comes back from its configuration as it was."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from models.layers.din import DIN
from models.layers.experts import Experts
from models.layers.fusion import KnowledgeFusion
from models.layers.gates import FeatureGate, Gate, SelfGate
from models.layers.head import Head
from models.layers.mlp import MLP
from models.layers.piecewise_linear import PiecewiseLinear

ROW = tf.constant([[0.5, -1.0, 2.0]])
HISTORY = tf.constant([[1.0, 0.0, 2.0], [0.0, 0.5, 0.0]])
OWNER = tf.constant([0, 0])

CASES = [
    (MLP((4, 2)), (ROW,)),
    (MLP(()), (ROW,)),
    (PiecewiseLinear(((-1.0, 0.0, 2.0), (0.0, 1.0), (0.0, 1.0, 4.0, 5.0))), (ROW,)),
    (Head((3,), base_rate=0.07), (ROW,)),
    (Experts(2, (3,), normalized=True), (ROW,)),
    (Gate(2), (ROW,)),
    (FeatureGate(2, rank=4), (ROW,)),
    (SelfGate(), ((ROW, HISTORY[None]),)),
    (KnowledgeFusion((3,), stop_gradient=True), ((ROW, ROW),)),
    (DIN((4,)), (ROW, HISTORY, OWNER)),
]


@pytest.mark.parametrize(("layer", "inputs"), CASES)
def test_round_trip(layer, inputs):
    expected = layer(*inputs)
    again = type(layer).from_config(layer.get_config())
    again(*inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(*inputs), expected)
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("rate", [0.07, 0.5, 0.0, 1.0])
def test_a_head_starts_near_the_base_rate(rate):
    tf_keras.utils.set_random_seed(0)
    p = float(tf.sigmoid(Head((8,), base_rate=rate)(ROW))[0])
    assert p == pytest.approx(min(max(rate, 1e-4), 1 - 1e-4), abs=0.03)
