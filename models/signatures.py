"""What a pushed model answers to: signatures over one transform graph and one model."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from models import features as names
from models.calibration import MonotoneMap
from models.conversion_model import ConversionModel
from models.feature_space import NUMERIC

SERVING_DEFAULT = "serving_default"
RAW = "raw"
RANK = "rank"
UNCALIBRATED = "uncalibrated"
TRANSFORM_FEATURES = "transform_features"
EXAMPLES = "examples"
ORDER = "order"


def is_model_input(name: str) -> bool:
    """Whether a column of raw click examples feeds the model: neither key, label, weight nor slice."""
    inputs = (*names.CATEGORICAL, *names.CALENDAR, *names.SEQUENCES, *names.NUMERIC)
    return name in inputs or names.is_context(name)


class ServedModel(tf.Module):
    """The model with its preprocessing, from raw features to p_caba, p_cabb and p_conversion, each [batch,
    1].

    Signatures (none needs labels or weights):
      serving_default      `examples`: serialised tf.Example [batch] of raw features
      raw                  one tensor per raw feature: scalars [batch], sequences [batch, length] padded
                           with ""
      rank                 the same for N candidates of each user: features of `names.OF_CANDIDATE` are
                           [users, N], the others [users], sequences [users, length]; outputs are [users, N],
                           and `order` [users, N] int32 are the candidates by p_conversion, largest first
      transform_features   `examples` -> the model's inputs
      uncalibrated         as serving_default, before calibration; absent without calibration
    """

    def __init__(
        self,
        model: ConversionModel,
        transform: tft.TFTransformOutput,
        calibration: Mapping[str, MonotoneMap] | None = None,
    ):
        super().__init__()
        # All of the model that is saved: a Keras model would add its functions for training, and to them the
        # rates of every fold of users.
        self._weights = model.variables
        self._model = lambda features: model(features)
        self._numeric = model.space.numeric
        self._calibration = dict(calibration or {})
        self.transform = transform.transform_features_layer()
        self._raw_spec = {k: v for k, v in sorted(transform.raw_feature_spec().items()) if is_model_input(k)}
        self._transformed_names = [
            name
            for name in transform.transformed_feature_spec()
            if name not in (*names.LABELS, *names.WEIGHTS, names.USER_FOLD) and not names.is_credit(name)
        ]

    def save(self, directory: str) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, directory, signatures=self.signatures())

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        examples = tf.TensorSpec([None], tf.string, name=EXAMPLES)

        @tf.function(input_signature=[examples])
        def serving_default(examples):
            return self._predict(self._parse(examples))

        @tf.function(input_signature=[examples])
        def transform_features(examples):
            return self._transformed(self._parse(examples))

        @tf.function(input_signature=[examples])
        def uncalibrated(examples):
            return self._model(self._transformed(self._parse(examples)))

        @tf.function
        def raw(**tensors):
            return self._predict({name: self._shape_raw(name, value) for name, value in tensors.items()})

        @tf.function
        def rank(**tensors):
            return self._rank(tensors)

        raw_scores = {UNCALIBRATED: uncalibrated.get_concrete_function()} if self._calibration else {}
        return {
            SERVING_DEFAULT: serving_default.get_concrete_function(),
            RAW: raw.get_concrete_function(**self.raw_signature()),
            RANK: rank.get_concrete_function(**self.rank_signature()),
            TRANSFORM_FEATURES: transform_features.get_concrete_function(),
            **raw_scores,
        }

    def raw_signature(self) -> dict[str, tf.TensorSpec]:
        """Tensors of the `raw` signature by feature name."""
        return {
            name: tf.TensorSpec([None, None] if name in names.SEQUENCES else [None], feature.dtype, name=name)
            for name, feature in self._raw_spec.items()
        }

    def rank_signature(self) -> dict[str, tf.TensorSpec]:
        """Tensors of the `rank` signature by feature name."""
        return {
            name: tf.TensorSpec([None, None], spec.dtype, name=name) if name in names.OF_CANDIDATE else spec
            for name, spec in self.raw_signature().items()
        }

    def _rank(self, tensors):
        """Users' features are looked up once a user, and only then repeated for every candidate."""
        of_candidate = {name: value for name, value in tensors.items() if name in names.OF_CANDIDATE}
        of_user = {name: value for name, value in tensors.items() if name not in names.OF_CANDIDATE}
        shape = tf.shape(next(iter(of_candidate.values())))
        users = self._transformed_rows(of_user, shape[0])
        rows = self._transformed_rows(
            {name: tf.reshape(value, [-1]) for name, value in of_candidate.items()}, shape[0] * shape[1]
        )
        users = {name: tf.repeat(value, shape[1], axis=0) for name, value in users.items()}
        features = {name: (rows if name in names.OF_CANDIDATE else users)[name] for name in rows}
        columns = [n.removeprefix("known_") in names.OF_CANDIDATE for n in self._numeric]
        features[NUMERIC] = tf.where(tf.constant([columns]), rows[NUMERIC], users[NUMERIC])
        outputs = {name: tf.reshape(value, shape) for name, value in self._scores(features).items()}
        order = tf.argsort(outputs[names.P_CONVERSION], direction="DESCENDING", stable=True)
        return {**outputs, ORDER: order}

    def _transformed_rows(self, given, rows):
        """The model's inputs of rows of which only some features are given, each [rows, ...]."""
        blank = {tf.string: "", tf.int64: 0, tf.float32: names.NEVER}
        absent = {
            name: tf.fill(
                [rows, 1] if name in names.SEQUENCES else [rows], tf.cast(blank[spec.dtype], spec.dtype)
            )
            for name, spec in self.raw_signature().items()
            if name not in given
        }
        raw = {name: self._shape_raw(name, value) for name, value in {**given, **absent}.items()}
        return self._transformed(raw)

    def _parse(self, examples):
        return tf.io.parse_example(examples, self._raw_spec)

    def _shape_raw(self, name, value):
        """A dense tensor in the shape that the transform graph was traced with."""
        feature = self._raw_spec[name]
        if isinstance(feature, tf.io.FixedLenFeature):
            return tf.reshape(value, [-1, *feature.shape])
        if name not in names.SEQUENCES:
            value = tf.expand_dims(value, 1)
            return tf.sparse.SparseTensor(
                tf.where(tf.ones_like(value, tf.bool)), tf.reshape(value, [-1]), tf.shape(value, tf.int64)
            )
        return tf.sparse.from_dense(value)

    def _transformed(self, raw):
        transformed = self.transform(raw)
        return {name: transformed[name] for name in self._transformed_names}

    def _predict(self, raw):
        return self._scores(self._transformed(raw))

    def _scores(self, features):
        p = self._model(features)
        return p | {output: calibrated(p[output]) for output, calibrated in self._calibration.items()}
