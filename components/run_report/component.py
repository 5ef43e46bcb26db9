"""The RunReport component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import AnomalyReport, RunPage, Sessions, Similarity
from components.run_report.executor import Executor


class RunReportSpec(component_spec.ComponentSpec):
    """What a run left behind in, one page out."""

    INPUTS = {
        "sessions": component_spec.ChannelParameter(type=Sessions),
        "similarity": component_spec.ChannelParameter(type=Similarity),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(type=AnomalyReport),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "baseline": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }
    OUTPUTS = {"page": component_spec.ChannelParameter(type=RunPage)}
    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "lineage": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class RunReport(base_component.BaseComponent):
    """One self-contained page about a run: verdict first, then metrics against production, data, labels,
    relatedness, training, calibration and slices.

    Scores the eval clicks with the candidate and the baseline itself, so that intervals, calibration bins and
    alpha-weighted rows come from one set of predictions.

    Outputs:
        page: `report.html` and `results.json`.
    """

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        sessions: types.BaseChannel,
        similarity: types.BaseChannel,
        examples: types.BaseChannel,
        anomalies: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        baseline: types.BaseChannel,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        pushed_model: types.BaseChannel,
        settings: str,
        code_hash: str,
        lineage: str = "{}",
    ) -> None:
        """Declares the component.

        Args:
            sessions: with `counts.json`.
            similarity: the category similarity table.
            examples: click examples with an eval split and `label_counts.json`.
            anomalies: the anomaly gate's report.
            model, model_run: the Trainer's.
            baseline: the BaselineModel's.
            evaluation, blessing: the Evaluator's.
            infra_blessing: the ServingValidator's.
            pushed_model: the VersionedPusher's.
            settings: YAML or JSON of the whole run's settings, shown on the page; its branch `report`, if
                any, is `ReportSettings`.
            code_hash: of the sources, part of the cache key.
            lineage: JSON of the run's `schemas.lineage.Lineage`, as far as it is known before the push.
        """
        super().__init__(
            RunReportSpec(
                sessions=sessions,
                similarity=similarity,
                examples=examples,
                anomalies=anomalies,
                model=model,
                model_run=model_run,
                baseline=baseline,
                evaluation=evaluation,
                blessing=blessing,
                infra_blessing=infra_blessing,
                pushed_model=pushed_model,
                settings=settings,
                lineage=lineage,
                code_hash=code_hash,
                page=types.Channel(type=RunPage),
            )
        )
