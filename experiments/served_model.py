"""A pushed SavedModel asked in this process, by raw features as columns: no tf.Example is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import features as names
from schemas.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

RAW = "raw"
BATCH_ROWS = 8192


class ServedModel:
    """The `raw` signature of a SavedModel (models/signatures.py).

    Attributes:
        inputs: raw feature -> its TensorFlow type.
    """

    def __init__(self, folder: str | Path):
        """Loads the model once.

        Raises:
            InputError: no SavedModel there, or one without the signature or an output.
        """
        import tensorflow as tf

        try:
            self._model = tf.saved_model.load(str(folder))
        except OSError as error:
            raise InputError(f"{folder}: not a SavedModel ({str(error).splitlines()[0]})") from None
        if RAW not in self._model.signatures:
            raise InputError(f"{folder}: the SavedModel has no signature {RAW!r}; export it again")
        self._ask = self._model.signatures[RAW]
        missing = sorted(set(names.LABEL_OF_OUTPUT) - set(self._ask.structured_outputs))
        if missing:
            raise InputError(f"{folder}: the model does not answer {', '.join(missing)}; export it again")
        self.inputs: dict[str, tf.DType] = {
            name: spec.dtype for name, spec in self._ask.structured_input_signature[1].items()
        }

    def score(
        self,
        columns: Mapping[str, tf.Tensor],
        moved: Sequence[str] = (),
        order: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Served outputs of every row, float32 [rows].

        Args:
            columns: every input, [rows], sequences [rows, length] padded with "".
            moved: inputs that row i takes from row `order[i]` instead of its own.
        """
        import tensorflow as tf

        rows = int(next(iter(columns.values())).shape[0])
        taken = np.arange(rows) if order is None else order
        answers: dict[str, list[np.ndarray]] = {output: [] for output in names.LABEL_OF_OUTPUT}
        for start in range(0, rows, BATCH_ROWS):
            own = slice(start, start + BATCH_ROWS)
            batch = {
                name: tf.gather(columns[name], taken[own]) if name in moved else columns[name][own]
                for name in self.inputs
            }
            said = self._ask(**batch)
            for output, values in answers.items():
                values.append(said[output].numpy().reshape(-1))
        return {
            output: np.concatenate(values) if values else np.zeros(0, np.float32)
            for output, values in answers.items()
        }
