"""Numbers by pieces: the formula, and that curves with corners at the edges are linear in it."""

from itertools import pairwise

import numpy as np
import tensorflow as tf

from models.layers.piecewise_linear import PiecewiseLinear

EDGES = ((-2.0, -0.5, 0.0, 3.0), (0.0, 1.0), (4.0,), (-1.0, 0.0, 1.0))


def reference(rows):
    """Gorishniy et al. 2022, eq. 1, value by value, minus 1/2."""
    encoded = []
    for row in rows:
        encoded.append([])
        for x, edges in zip(row, EDGES, strict=True):
            for low, high in pairwise(edges):
                if len(edges) > 2:
                    part = 0.0 if x < low else 1.0 if x >= high else (x - low) / (high - low)
                    encoded[-1].append(part - 0.5)
    return np.array(encoded)


def test_is_the_formula_and_leaves_out_flags_and_constants():
    rows = np.random.default_rng(0).normal(0, 3, (200, 4)).astype(np.float32)
    rows[0], rows[1] = [edges[0] for edges in EDGES], [edges[-1] for edges in EDGES]
    found = PiecewiseLinear(EDGES)(tf.constant(rows)).numpy()
    assert found.shape == (200, 3 + 2)
    np.testing.assert_allclose(found, reference(rows), atol=1e-6)


def test_a_curve_with_corners_at_the_edges_is_linear_in_it():
    x = np.linspace(-2, 3, 101, dtype=np.float32)
    rows = np.stack([x, x, x, x], axis=1)
    curve = np.interp(x, EDGES[0], [0.3, -2.0, 5.0, 1.0])
    encoded = PiecewiseLinear(EDGES)(tf.constant(rows)).numpy()[:, :3]
    design = np.column_stack([encoded, np.ones(len(x))])
    weights = np.linalg.lstsq(design, curve, rcond=None)[0]
    np.testing.assert_allclose(design @ weights, curve, atol=1e-5)
