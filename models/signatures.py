"""What a pushed model answers to: three signatures over one transform graph and one model."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from models import features as names
from models.conversion_model import ConversionModel

SERVING_DEFAULT = "serving_default"
RAW = "raw"
TRANSFORM_FEATURES = "transform_features"
EXAMPLES = "examples"


def is_model_input(name: str) -> bool:
    """Whether a column of raw click examples feeds the model: neither key, label, weight nor slice."""
    inputs = (*names.CATEGORICAL, *names.CALENDAR, *names.SEQUENCES, *names.NUMERIC)
    return name in inputs or names.is_context(name)


class ServedModel(tf.Module):
    """The model with its preprocessing, from raw features to p_caba, p_cabb and p_conversion, each [batch,
    1].

    Signatures (none needs labels or weights):
      serving_default      `examples`: serialised tf.Example [batch] of raw features
      raw                  one tensor per raw feature: scalars [batch], sequences [batch, length] padded with
      "" transform_features   `examples` -> the model's inputs
    """

    def __init__(self, model: ConversionModel, transform: tft.TFTransformOutput):
        super().__init__()
        self.model = model
        self.transform = transform.transform_features_layer()
        self._raw_spec = {k: v for k, v in sorted(transform.raw_feature_spec().items()) if is_model_input(k)}
        self._transformed_names = [
            name
            for name in transform.transformed_feature_spec()
            if name not in (*names.LABELS, *names.WEIGHTS) and not names.is_credit(name)
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

        @tf.function
        def raw(**tensors):
            return self._predict({name: self._shape_raw(name, value) for name, value in tensors.items()})

        return {
            SERVING_DEFAULT: serving_default.get_concrete_function(),
            RAW: raw.get_concrete_function(**self.raw_signature()),
            TRANSFORM_FEATURES: transform_features.get_concrete_function(),
        }

    def raw_signature(self) -> dict[str, tf.TensorSpec]:
        """Tensors of the `raw` signature by feature name."""
        return {
            name: tf.TensorSpec([None, None] if name in names.SEQUENCES else [None], feature.dtype, name=name)
            for name, feature in self._raw_spec.items()
        }

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
        return self.model(self._transformed(raw))
