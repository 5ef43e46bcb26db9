"""The components as TFX runs them: sessions to an Examples artifact that TFX's standard consumers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .event_streams import TIME_ZONE, random_events, write_sessions

pytestmark = pytest.mark.slow  # imports tfx


def test_examples_are_standard(tmp_path: Path):
    import apache_beam as beam
    from tfx.components.util import examples_utils, tfxio_utils
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import artifact_utils, channel, standard_artifacts

    import components
    from components.attribution_model.executor import Executor as ModelExecutor
    from components.category_similarity.executor import Executor as SimilarityExecutor
    from components.similarity_transform.executor import Executor as TransformExecutor
    from models import features as names

    def artifact(kind, name):
        made = kind()
        made.uri = str(tmp_path / name)
        return made

    write_sessions(random_events(seed=3, users=9, per_user=40), tmp_path / "sessions", 2)
    sessions = artifact(components.Sessions, "sessions")
    similarity = artifact(components.Similarity, "similarity")
    attribution = artifact(components.Attribution, "attribution")
    examples = artifact(standard_artifacts.Examples, "examples")
    properties = {
        "settings": "{}",
        "attribution": json.dumps({"views": ["linear", "mta"], "look_back_days": 0.1}),
        "source": json.dumps({"events": ["unused"], "time_zone": TIME_ZONE, "context_columns": ["channel"]}),
        "windows": json.dumps({"eval_start": "2024-03-12"}),
        "code_hash": "x",
    }
    sessions_channel = channel.Channel(type=components.Sessions)
    one = components.CategorySimilarity(sessions_channel, settings="{}", code_hash="x")
    of_model = {"settings": properties["attribution"], "session_gap_minutes": 30.0, "code_hash": "x"}
    mta = components.AttributionModel(sessions_channel, one.outputs["similarity"], **of_model)
    two = components.SimilarityTransform(
        sessions_channel, one.outputs["similarity"], mta=mta.outputs["attribution"], **properties
    )
    assert set(mta.exec_properties) == set(of_model) and set(two.exec_properties) == set(properties)

    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(tmp_path / "tmp")
    )
    SimilarityExecutor(context).Do({"sessions": [sessions]}, {"similarity": [similarity]}, properties)
    ModelExecutor(context).Do(
        {"sessions": [sessions], "similarity": [similarity]}, {"attribution": [attribution]}, of_model
    )
    TransformExecutor(context).Do(
        {"sessions": [sessions], "similarity": [similarity], "mta": [attribution]},
        {"examples": [examples]},
        properties,
    )

    assert artifact_utils.decode_split_names(examples.split_names) == ["train", "eval"]
    assert examples_utils.get_payload_format_string(examples) == "FORMAT_TF_EXAMPLE"
    counts = json.loads((tmp_path / "examples" / "label_counts.json").read_text())
    for split in ("train", "eval"):
        patterns = examples_utils.get_split_file_patterns([examples], split)
        source = tfxio_utils.get_tfxio_factory_from_artifact([examples], ["test"])(patterns)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            _ = (
                pipeline
                | source.BeamSource()
                | beam.Map(lambda batch: (batch.num_rows, sorted(batch.schema.names)))
                | beam.combiners.ToList()
                | beam.Map(_write, tmp_path / f"{split}.json")
            )
        rows = json.loads((tmp_path / f"{split}.json").read_text())
        assert sum(n for n, _ in rows) == counts[split]["rows"] > 0
        assert set(rows[0][1]) == {
            *names.STRINGS,
            *names.INTEGERS,
            *names.FLOATS,
            *names.SEQUENCES,
            *names.credit_columns(["linear", "mta"]),
            "context_channel",
        }


def _write(found: list, path: Path) -> None:
    path.write_text(json.dumps(found))
