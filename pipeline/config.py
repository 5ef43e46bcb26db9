"""One tree of settings for a whole run: read from YAML, checked, resolved and hashed.

Every branch is defined beside the code that it steers; this file only puts them together.
"""

import difflib
import hashlib
import json
import reprlib
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from components.anomaly_gate.anomalies import AnomalySettings
from components.attribution_model.mta import BY_CHANNEL
from components.baseline_model.choice import BaselineSettings
from components.category_similarity.settings import SimilaritySettings
from components.evaluator.eval_config import GateSettings
from components.feature_state.settings import FeatureStateSettings
from components.run_report.judgement import ReportSettings
from components.serving_validator.settings import ServingCheckSettings
from components.session_example_gen.splits import SplitWindows
from components.similarity_transform.attribution_views import AttributionSettings
from components.similarity_transform.labels import LabelSettings
from models.settings import ModelSettings, PreprocessingSettings
from pipeline.beam_profiles import BeamSettings
from pipeline.kubeflow.settings import KubeflowSettings
from pipeline.strict_yaml import parse_yaml
from schemas.errors import InputError
from schemas.events import LogSource
from schemas.settings import Settings
from simulator.worlds import PRESETS, World


class Config(Settings):
    """Everything that decides what a run produces. Without `data` the simulated `store` is used."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")] = "cabb"
    output: Path = Path("runs/cabb")
    data: LogSource | None = None
    store: World = World()
    split: SplitWindows | None = None
    similarity: SimilaritySettings = SimilaritySettings()
    labels: LabelSettings = LabelSettings()
    attribution: AttributionSettings = AttributionSettings()
    feature_state: FeatureStateSettings = FeatureStateSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    model: ModelSettings = ModelSettings()
    anomalies: AnomalySettings = AnomalySettings()
    baseline: BaselineSettings = BaselineSettings()
    gate: GateSettings = GateSettings()
    serving_check: ServingCheckSettings = ServingCheckSettings()
    report: ReportSettings = ReportSettings()
    beam: BeamSettings = BeamSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    @field_validator("store", mode="before")
    @classmethod
    def _preset(cls, store: Any) -> Any:
        """The mapping's `name` is the preset that its other keys change."""
        if not isinstance(store, dict):
            return store
        name = store.get("name", "default")
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"no such world; choose one of {', '.join(PRESETS)}")
        return {**PRESETS[name].model_dump(), **store}

    @model_validator(mode="after")
    def _credits_are_per_click(self) -> Self:
        if self.resolved_attribution().views and self.labels.label_policy != "per_click":
            raise ValueError("attribution views credit clicks: they need labels.label_policy per_click")
        return self

    @model_validator(mode="after")
    def _channel_is_in_the_log(self) -> Self:
        mta = self.attribution.mta
        known = ("advertiser", "leaf", *(self.data.context_columns if self.data else ()))
        if self.data and mta.method in BY_CHANNEL and mta.channel not in known:
            raise ValueError(
                f"attribution.mta.method {mta.method} tells touches apart by channel, but "
                f"attribution.mta.channel {mta.channel!r} is none of {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def _held_out_days_are_there(self) -> Self:
        if self.split is not None and self.model.needs_holdout and not self.split.holdout_days:
            raise ValueError(
                "model.calibration and a bilevel lambda_cabb are fitted on held-out days: set "
                "split.holdout_days (7, say)"
            )
        return self

    def resolved_attribution(self) -> AttributionSettings:
        """The attribution settings with the views that the examples of this run carry."""
        views = self.attribution.views
        chosen = self.model.needed_views() if views is None else views
        return self.attribution.model_copy(update={"views": chosen})

    def label_days(self) -> float:
        """How long a click must be followed before its labels and credits are known."""
        return max(self.labels.label_days, self.resolved_attribution().label_days)

    def to_yaml(self) -> str:
        """The resolved settings, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def decisive_json(self) -> str:
        """What decides the result: everything but where it is written and where and how it runs.

        Partitions count: they set the order in which the model meets its examples.
        """
        settings = self.model_dump(mode="json", exclude={"output", "beam", "kubeflow"})
        return json.dumps({**settings, "partitions": self.beam.partitions}, sort_keys=True)

    def digest(self) -> str:
        """SHA-256 of what decides the result."""
        return hashlib.sha256(self.decisive_json().encode()).hexdigest()


_SHORT_FORMS = {"store": "name", "similarity": "scheme", "model": "model"}
"""`store: high_cabb` is short for `store: {name: high_cabb}`, and so on."""


def load_config(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Reads a YAML file (or the defaults) and applies overrides on top of it.

    Args:
        path: YAML file, or None for the defaults. Relative paths inside it are relative to the file.
        overrides: values by dotted key, as in {"model.lambda_cabb": 0.5}.

    Raises:
        InputError: an unreadable file, one that is no mapping, an unknown key, or a value of the wrong kind.
    """
    tree = _read_mapping(path) if path else {}
    for key, name in _SHORT_FORMS.items():
        if isinstance(tree.get(key), str):
            tree[key] = {name: tree[key]}
    for dotted, value in (overrides or {}).items():
        _set(tree, dotted, value)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise InputError(_explain(error, path, overrides or {})) from None
    return _with_absolute_paths(config, path.parent if path else Path())


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); name an existing YAML file") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(
            f"{path}: holds a {type(tree).__name__}; a configuration is a mapping of keys to values"
        )
    return tree


def _set(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    if not parents and last in _SHORT_FORMS and isinstance(value, str):
        value = {_SHORT_FORMS[last]: value}
    for key in parents:
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            raise InputError(f"{dotted}: {key} is {reprlib.repr(tree)}, which has no keys of its own")
    tree[last] = value


def _with_absolute_paths(config: Config, home: Path) -> Config:
    def absolute(path: str) -> str:
        return str((home / Path(path).expanduser()).resolve())

    output = config.output.expanduser()
    changes: dict[str, Any] = {"output": output.resolve()}
    if config.data:
        changes["data"] = config.data.model_copy(
            update={
                "events": [absolute(each) for each in config.data.events],
                "catalog": absolute(config.data.catalog) if config.data.catalog else None,
            }
        )
    return config.model_copy(update=changes)


def _explain(error: ValidationError, path: Path | None, overrides: dict[str, Any]) -> str:
    """One problem in one line: a misspelt key, with the nearest known one, before anything else, and a word
    that might have stood there after what does."""
    order = {"extra_forbidden": 0, "literal_error": 2}
    problem = min(error.errors(), key=lambda each: order.get(each["type"], 1))
    keys = [str(each) for each in problem["loc"]]
    dotted = ".".join(keys)
    overridden = any(f"{dotted}.".startswith(f"{key}.") for key in overrides)
    where = "the command line" if path is None or overridden else str(path)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key {dotted!r}; {hint}"
    words, given = problem["msg"].removeprefix("Value error, "), problem["input"]
    if problem["type"] == "model_type":
        words = "should be a mapping of keys to values"
    elif problem["type"] == "value_error" and not isinstance(given, str | float):
        return f"{where}: {dotted or 'configuration'}: {words}"  # which name what is wrong with many values
    return f"{where}: {dotted or 'configuration'}: {words}, got {reprlib.repr(given)}"


def _known_keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for key in parents:
        field = model.model_fields.get(key)
        branches = [field.annotation, *get_args(field.annotation)] if field else []
        found = [each for each in branches if isinstance(each, type) and issubclass(each, BaseModel)]
        if not found:
            return list(model.model_fields)
        model = found[0]
    return list(model.model_fields)
