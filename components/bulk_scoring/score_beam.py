"""Parquet rows -> the same rows with scores, through Beam: every worker holds the SavedModel, no server runs.

A row is checked and scored by the very code of the client and of the emulator; what they would refuse stops
the job.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from serving.requests import Requests, features_of_export

_WORK_DIR = ".unfinished"


class RowGroup(NamedTuple):
    """A row group of a file, and the name of its scored rows."""

    path: str
    number: int
    target: str


class _ScoreRows(beam.DoFn):
    """RowGroup -> number of rows; writes them with their scores."""

    def __init__(self, export: str, folder: str, batch: int):
        self._export, self._folder, self._batch = export, folder, batch

    def setup(self) -> None:
        from serving.limits import ServingLimits
        from serving.servable import Servable

        limits = ServingLimits(max_rows=self._batch, max_elements=1 << 30)
        self._servable = Servable(Path(self._export), limits)
        self._requests = Requests(features_of_export(self._export), "bulk")

    def teardown(self) -> None:
        self._servable.close()

    def process(self, part: RowGroup) -> Iterator[int]:
        from tensorflow_serving.apis import predict_pb2

        rows, writer = 0, None
        with pq.ParquetFile(part.path) as file:
            for batch in file.iter_batches(self._batch, row_groups=[part.number]):
                request = self._requests.score(batch).SerializeToString()
                scores = self._servable.predict(predict_pb2.PredictRequest.FromString(request))
                table = pa.Table.from_batches([batch])
                table = table.drop_columns([name for name in scores if name in table.column_names])
                for name, (_, values) in sorted(scores.items()):
                    table = table.append_column(name, pa.array(values.reshape(-1)))
                writer = writer or pq.ParquetWriter(Path(self._folder, part.target), table.schema)
                writer.write_table(table)
                rows += batch.num_rows
        if writer:
            writer.close()
        yield rows


def score_files(
    sources: Sequence[str],
    export: Path,
    output: Path,
    beam_flags: Sequence[str],
    batch: int = 2000,
) -> int:
    """Writes `part-*.parquet` with all rows and a column per output; they appear when all is done.

    Args:
        sources: Parquet files or globs with the model's raw features; other columns are kept.
        export: a pushed version.
        output: folder that is not there yet, or empty.
        beam_flags: where Beam runs; its workers share the file system.
        batch: rows scored at once.

    Returns:
        The number of rows.

    Raises:
        InputError: no files or no rows, columns that the model lacks, or an output that is in use.
    """
    features = features_of_export(export)
    paths = sorted({path for source in sources for path in glob.glob(source)})
    parts: list[RowGroup] = []
    rows = 0
    for path in paths:
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: not a readable Parquet file ({error})") from None
        missing = sorted(set(features) - set(metadata.schema.to_arrow_schema().names))
        if missing:
            raise InputError(f"{path}: lacks {len(missing)} features of the model: {', '.join(missing)}")
        for number in range(metadata.num_row_groups):
            parts.append(RowGroup(path, number, f"part-{len(parts):05d}.parquet"))
        rows += metadata.num_rows
    if not rows:
        raise InputError(f"{', '.join(sources)}: no rows to score")
    work = output / _WORK_DIR
    if output.exists() and any(each != work for each in output.iterdir()):
        raise InputError(f"{output}: is not empty; name a new folder")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with beam.Pipeline(argv=list(beam_flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(parts)
            | beam.Reshuffle()
            | beam.ParDo(_ScoreRows(str(export), str(work), batch))
        )
    for path in sorted(work.iterdir()):
        path.replace(output / path.name)
    work.rmdir()
    return rows
