"""The pipeline: logs, sessions, similarity, labelled clicks, model, verdict, pushed version, report."""

import json

# Not through `tfx.v1`, which imports the clients of Google's AI Platform as well.
from tfx.components import Evaluator, ExampleValidator, StatisticsGen, Trainer, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2

from components import (
    AnomalyGate,
    AttributionModel,
    BaselineModel,
    CategorySimilarity,
    FeatureStateGen,
    RunReport,
    ServingValidator,
    SessionExampleGen,
    SimilarityTransform,
    VersionedPusher,
)
from components.anomaly_gate.anomalies import AnomalySettings
from components.evaluator.eval_config import eval_config
from models import features
from pipeline.code_hash import code_hash
from pipeline.config import Config
from pipeline.run_inputs import RunInputs

TRAINER = "models.trainer.run_fn"


def create_pipeline(config: Config, inputs: RunInputs, run_fn: str = TRAINER) -> Pipeline:
    """The DAG of one run; it reads from top to bottom and is the same for every runner.

    Args:
        config: the resolved configuration.
        inputs: what the run reads.
        run_fn: import path of the trainer's entry.
    """
    source = inputs.source.model_dump_json()
    windows = inputs.windows.model_dump_json()
    serving_dir = str(inputs.serving_dir)

    sessions = SessionExampleGen(
        source=source,
        windows=windows,
        fingerprint=inputs.fingerprint,
        partitions=config.beam.partitions,
        code_hash=code_hash("components.session_example_gen", "components.columnar", "schemas"),
    )
    similarity = CategorySimilarity(
        sessions=sessions.outputs["sessions"],
        settings=config.similarity.model_dump_json(),
        code_hash=code_hash("components.category_similarity", "schemas"),
    )
    attribution = config.resolved_attribution()
    data_hash = code_hash(
        "components.similarity_transform",
        "components.attribution_model",
        "components.category_similarity",
        "components.session_example_gen",
        "models.features",
        "models.metrics",
        "schemas",
    )
    mta = []
    if "mta" in attribution.views:
        mta = [
            AttributionModel(
                sessions=sessions.outputs["sessions"],
                similarity=similarity.outputs["similarity"],
                settings=attribution.model_dump_json(),
                session_gap_minutes=float(inputs.source.session_gap_minutes),
                code_hash=data_hash,
            )
        ]
    clicks = SimilarityTransform(
        sessions=sessions.outputs["sessions"],
        similarity=similarity.outputs["similarity"],
        source=source,
        windows=windows,
        settings=config.labels.model_dump_json(),
        attribution=attribution.model_dump_json(),
        mta=mta[0].outputs["attribution"] if mta else None,
        code_hash=data_hash,
    )
    examples = clicks.outputs["examples"]
    feature_state = FeatureStateGen(
        sessions=sessions.outputs["sessions"],
        source=source,
        labels=config.labels.model_dump_json(),
        settings=config.feature_state.model_dump_json(),
        code_hash=code_hash(
            "components.feature_state",
            "components.similarity_transform",
            "components.session_example_gen",
            "models.features",
            "schemas",
        ),
    )

    schema = ImportSchemaGen(schema_file=str(inputs.schema_file))
    statistics = StatisticsGen(examples=examples)
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    anomaly_gate = AnomalyGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        anomalies=anomalies.outputs["anomalies"],
        serving_dir=serving_dir,
        run_key=inputs.run_key,
        serving_state=inputs.baseline_state,
        settings=_anomaly_settings(config).model_dump_json(),
        code_hash=code_hash("components.anomaly_gate", "models.features", "schemas"),
    )

    models_hash = code_hash("models")
    transform = Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config={"settings": config.preprocessing.model_dump_json(), "code_hash": models_hash},
        disable_statistics=True,
    )
    transform.add_upstream_node(anomaly_gate)
    held_out = bool(inputs.windows.holdout_days)
    trainer = Trainer(
        run_fn=run_fn,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["holdout" if held_out else "train"]),
        custom_config={
            "settings": config.model.model_dump_json(),
            "holdout": held_out,
            "code_hash": models_hash,
        },
    )

    label_of_output = config.model.label_of_output()
    baseline = BaselineModel(
        examples=examples,
        serving_dir=serving_dir,
        eval_start=inputs.windows.eval_start.isoformat(),
        run_key=inputs.run_key,
        serving_state=inputs.baseline_state,
        settings=config.baseline.model_dump_json(),
        label_of_output=json.dumps(label_of_output),
        code_hash=code_hash("components.baseline_model", "models.features", "schemas"),
    )
    evaluator = Evaluator(
        examples=examples,
        example_splits=["eval"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=eval_config(
            config.gate,
            label_of_output,
            code_hash=code_hash("components.evaluator", "models.features", "models.metrics"),
        ),
    )
    serving_check = ServingValidator(
        model=trainer.outputs["model"],
        examples=examples,
        settings=config.serving_check.model_dump_json(),
        code_hash=code_hash("components.serving_validator", "serving", "schemas"),
    )
    pusher = VersionedPusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_check.outputs["blessing"],
        baseline=baseline.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        feature_state=feature_state.outputs["state"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir)
        ),
        serving_state=inputs.push_state,
        lineage=inputs.lineage.to_json(),
        code_hash=code_hash(
            "components.versioned_pusher", "components.baseline_model", "components.evaluator", "schemas"
        ),
    )
    report = RunReport(
        sessions=sessions.outputs["sessions"],
        similarity=similarity.outputs["similarity"],
        examples=examples,
        anomalies=anomaly_gate.outputs["report"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        baseline=baseline.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_check.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        settings=config.decisive_json(),
        lineage=inputs.lineage.to_json(),
        code_hash=code_hash(
            "components.run_report",
            "components.category_similarity",
            "components.evaluator",
            "models.features",
            "models.metrics",
            "models.settings",
            "schemas",
        ),
    )

    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.output / "artifacts"),
        components=[
            sessions,
            similarity,
            *mta,
            clicks,
            feature_state,
            schema,
            statistics,
            anomalies,
            anomaly_gate,
            transform,
            trainer,
            baseline,
            evaluator,
            serving_check,
            pusher,
            report,
        ],
        enable_cache=True,
        beam_pipeline_args=config.beam.arguments(),
    )


def _anomaly_settings(config: Config) -> AnomalySettings:
    """A row per purchase changes what a row of the train split is: its label shares are not those of eval."""
    if config.labels.label_policy == "per_click":
        return config.anomalies
    allow = dict.fromkeys((*config.anomalies.allow, *features.LABELS, *features.WEIGHTS))
    return config.anomalies.model_copy(update={"allow": tuple(allow)})
