"""The shared bottom: embeddings, attention over recent items, feature crosses, dense layers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from models import features as names
from models.feature_space import NUMERIC, PADDING_ID, FeatureSpace
from models.layers.din import DIN
from models.layers.mlp import MLP
from models.layers.piecewise_linear import PiecewiseLinear
from models.settings import ModelSettings


class Embeddings(tf_keras.layers.Layer):
    """One table per categorical input; the optimiser treats these variables apart from all others.

    A table is at most `embedding_size` wide and no wider than its number of ids.
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace, **kwargs):
        super().__init__(**kwargs)
        self._tables = {
            name: tf_keras.layers.Embedding(
                size,
                min(settings.embedding_size, size),
                embeddings_initializer=tf_keras.initializers.RandomNormal(stddev=0.05),
                name=f"embedding_{name}",
            )
            for name, size in sorted(space.cardinality.items())
        }

    def call(self, ids: tf.Tensor, name: str) -> tf.Tensor:
        """ids int64 of any shape -> [..., width]."""
        return self._tables[name](ids)


class IdRates(tf_keras.layers.Layer):
    """`RowStatistics.id_scores` of a row's ids, features -> [batch, categorical inputs]: how often training
    rows with an id converted. Embeddings learn little of it from ids with few rows.

    Rows that are trained on see the rates of other users' folds (features.USER_FOLD): a rate that their own
    labels went into would tell them, and be trusted for it.
    """

    def __init__(self, space: FeatureSpace, **kwargs):
        super().__init__(**kwargs)
        self._tables, self._other_folds = {}, {}
        for name, size in sorted(space.cardinality.items()):
            *others, whole = space.statistics.id_scores(name, size)
            self._tables[name] = tf.Variable(whole, trainable=False, name=f"rate_{name}")
            self._other_folds[name] = tf.constant(np.stack(others))

    def call(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        if training:
            fold = tf.cast(features[names.USER_FOLD], tf.int32)
            cells = {name: tf.stack([fold, tf.cast(features[name], tf.int32)], 1) for name in self._tables}
            rates = [tf.gather_nd(self._other_folds[name], cell) for name, cell in cells.items()]
        else:
            rates = [tf.gather(table, features[name]) for name, table in self._tables.items()]
        return tf.stack(rates, axis=1)


class Backbone(tf_keras.layers.Layer):
    """Transformed features -> representation [batch, bottom_units[-1]].

    x0 = [embeddings, rates of ids, numeric, numeric by pieces, DIN(candidate; recent items)]
    x_{l+1} = x0 * (U V' x_l + b) + x_l      (DCN-v2, Wang et al. 2021; tfrs.layers.dcn.Cross, low rank)
    out = MLP(x_L)
    """

    def __init__(self, settings: ModelSettings, space: FeatureSpace, **kwargs):
        super().__init__(**kwargs)
        self._space = space
        self.embeddings = Embeddings(settings, space, name="embeddings")
        self._rates = IdRates(space, name="rates") if space.statistics else None
        self._pieces = None
        if space.statistics and settings.numeric_bins:
            edges = space.statistics.edges(settings.numeric_bins)
            self._pieces = PiecewiseLinear(edges, name="pieces")
        self._attention = DIN(settings.attention_units, name="din") if settings.attention_units else None
        self._crosses = [
            tfrs.layers.dcn.Cross(projection_dim=settings.cross_projection, name=f"cross_{i}")
            for i in range(settings.cross_layers)
        ]
        self._mlp = MLP(settings.bottom_units, name="mlp")

    def call(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        embedded = {name: self.embeddings(features[name], name) for name in sorted(self._space.cardinality)}
        parts = [*embedded.values(), features[NUMERIC]]
        if self._rates is not None:
            parts.append(self._rates(features, training=training))
        if self._pieces is not None:
            parts.append(self._pieces(features[NUMERIC]))
        if self._attention is not None:
            sequences = sorted(self._space.sequences.items())
            query = tf.concat([embedded[shared] for _, shared in sequences], axis=-1)
            entries = tf.where(features[sequences[0][0]] != PADDING_ID)
            ids = {shared: tf.gather_nd(features[name], entries) for name, shared in sequences}
            keys = tf.concat([self.embeddings(ids[shared], shared) for _, shared in sequences], axis=-1)
            parts.append(self._attention(query, keys, entries[:, 0]))
        x = x0 = tf.concat(parts, axis=-1)
        for cross in self._crosses:
            x = cross(x0, x)
        return self._mlp(x)
