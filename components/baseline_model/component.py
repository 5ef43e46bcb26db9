"""The BaselineModel component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.baseline_model.executor import Executor


class BaselineModelSpec(component_spec.ComponentSpec):
    """Training examples in (for base rates), a model to compare with out."""

    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    PARAMETERS = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "eval_start": component_spec.ExecutionParameter(type=str),
        "run_key": component_spec.ExecutionParameter(type=str),
        "serving_state": component_spec.ExecutionParameter(type=str),
        "settings": component_spec.ExecutionParameter(type=str),
        "label_of_output": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class BaselineModel(base_component.BaseComponent):
    """The model in production, or base rates when there is none: TFX's Resolver does not run on Kubeflow.

    Outputs:
        model: standard Model (`Format-Serving`); custom properties `kind` (production or prior), and for
        production
            `version`, `train_start`, `train_end`.
    """

    SPEC_CLASS = BaselineModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        serving_dir: str,
        eval_start: str,
        run_key: str,
        serving_state: str,
        settings: str,
        label_of_output: str,
        code_hash: str,
    ) -> None:
        """Declares the component.

        Args:
            examples: click examples; base rates come from the split train.
            serving_dir: where versions are published; it may not exist yet.
            eval_start: first day of the eval split, ISO date.
            run_key: of this run: when it made production itself, the baseline is production's parent.
            serving_state: `schemas.lineage.baseline_state(...)`, part of the cache key.
            settings: JSON of `BaselineSettings`.
            label_of_output: JSON, column of the label by served output, whose rate is the answer.
            code_hash: of the sources, part of the cache key.
        """
        super().__init__(
            BaselineModelSpec(
                examples=examples,
                serving_dir=serving_dir,
                eval_start=eval_start,
                run_key=run_key,
                serving_state=serving_state,
                settings=settings,
                label_of_output=label_of_output,
                code_hash=code_hash,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
