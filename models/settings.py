"""Settings of preprocessing and training. Defaults are those that the measurements in docs/model-choices.md
support."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from models import features as names
from schemas.settings import Seed, Settings

VIEW_MODELS = ("shared_bottom", "mmoe", "ple", "home", "mal", "mal_cabb")
"""Models whose tasks are attribution views."""

SINGLE_TASKS = {
    "last_click": names.LAST_CLICK_CREDIT,
    "caba_only": names.Y_CABA,
    "any_conversion": names.Y_ANY,
}
"""Models of one head, and the label that each learns."""

MODELS = ("cabb", *SINGLE_TASKS, *VIEW_MODELS)
"""A model is a file of models/ of this name."""

View = Literal[names.VIEWS]
Units = Annotated[int, Field(ge=1)]
"""Width of a layer."""


class PreprocessingSettings(Settings):
    """How raw click examples become model inputs."""

    vocabulary_min_count: int = Field(5, ge=1)
    """A value seen in fewer training rows shares the out-of-vocabulary ids, which are trained by such
    values."""
    vocabulary_max_size: int = Field(1_000_000, ge=1)
    oov_buckets: int = Field(1, ge=1)


class ModelSettings(Settings):
    """A model, its sizes, its losses and how it is trained. Sizes are units, rates are per step."""

    model: str = "cabb"
    """One of `MODELS`."""

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in MODELS:
            raise ValueError(f"no such model; choose one of {', '.join(MODELS)}")
        return model

    members: int = Field(3, ge=1, le=64)
    """Networks side by side, of other first weights, whose mean is served. Training, serving and memory grow
    with them."""

    # The shape of the network.
    embedding_size: int = Field(16, ge=1)
    numeric_bins: int = Field(8, ge=0)
    """Quantile bins of a number's piecewise linear encoding; 0: without."""
    attention_units: tuple[Units, ...] = (32,)
    """Hidden layers of DIN's scorer; empty turns the user's recent items off."""
    cross_layers: int = Field(2, ge=0)
    cross_projection: int = Field(32, ge=1)
    """Rank of the DCN-v2 cross layers' low-rank matrices."""
    bottom_units: tuple[Units, ...] = Field((128, 64), min_length=1)
    head_units: tuple[Units, ...] = (32,)
    conversion_units: tuple[Units, ...] = (16,)

    @model_validator(mode="after")
    def _lambda_can_be_learned(self) -> Self:
        if isinstance(self.lambda_cabb, str) and self.model != "cabb":
            raise ValueError(
                f"lambda_cabb: {self.lambda_cabb} is for the model cabb; give {self.model} a number"
            )
        return self

    # The losses.
    lambda_cabb: Annotated[float, Field(ge=0)] | Literal["uncertainty", "bilevel"] = 0.75
    """Weight of L_CABB (CABB eq. 6): a number, learned from the tasks' uncertainty (Kendall et al. 2018), or
    chosen while training to lower the conversion loss of the held-out days."""
    alpha_share: float = Field(0.5, ge=0, le=1)
    """How much of a click's weight in L_CABB is its alpha; the rest counts all clicks alike. 1: CABB eq. 5 as
    it stands. 0: relatedness does not matter."""
    conversion_score: Literal["head", "sum", "or"] = "head"
    """Where p_conversion comes from: a third head, the clipped weighted sum of Figure 2, or
    1-(1-p1)(1-p2)."""
    conversion_sum_weights: tuple[float, float] = (1.0, 1.0)
    """Weights of p_caba and p_cabb in `sum`."""
    conversion_weight: float = Field(1.0, ge=0)
    """Weight of the conversion head's cross-entropy."""
    conversion_trains_bottom: bool = True
    """False: the conversion head reads stop-gradient inputs, so the other heads train as if it were
    absent."""

    action_weight: float = Field(1.0, ge=0)
    """`cabb`: weight of the cross-entropy of each of features.ACTIONS, carts and checkouts after the click;
    0: learn from purchases only."""

    # Attribution views, for the models that learn from them.
    primary_view: View = "last_click"
    """Whose credit p_conversion predicts."""
    views: tuple[View, ...] = Field(("last_click", "first_click", "linear", "mta"), min_length=1)
    """Views that are learned from."""

    @field_validator("views")
    @classmethod
    def _views_once(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(views)) < len(views):
            raise ValueError(f"names one twice: {', '.join(views)}")
        return views

    label_mode: Literal["weighted_binary", "soft"] = "weighted_binary"
    """weighted_binary: a click with credit is a positive whose weight is the credit, one without is a
    negative of weight 1 (MAL 3.1). soft: the credit is the probability to be met."""
    auxiliary_weight: float = Field(0.2, ge=0)
    """Weight of the loss of every view beside the primary one."""
    experts: int = Field(4, ge=1)
    """`mmoe`: experts that all views share."""
    shared_experts: int = Field(1, ge=1)
    """`ple`, `home`: experts that all views, or those of a group, share."""
    task_experts: int = Field(1, ge=1)
    """`ple`, `home`: experts of each view, or group of views."""
    expert_units: tuple[Units, ...] = Field((64,), min_length=1)
    feature_gate_rank: int = Field(8, ge=1)
    """`home`: rank of the feature gates."""
    cat_weight: float = Field(0.2, ge=0)
    """`mal`: weight of the loss over combinations of views; 0: without it (MAL \"w/o CAT\")."""
    fusion_units: tuple[Units, ...] = (64,)
    """`mal`: hidden layers between the knowledge vectors and the primary task."""
    stop_knowledge_gradient: bool = False
    """`mal`: the primary task does not train the knowledge towers."""
    auxiliary_labels: Literal["own", "primary"] = "own"
    """primary: every view's task is trained on the primary view's credit (MAL \"w/o multiple
    attributions\": the same network without the views' information)."""

    def needed_views(self) -> tuple[str, ...]:
        """Attribution views whose credits the click examples must carry."""
        if self.model not in VIEW_MODELS:
            return ()
        return tuple(view for view in names.VIEWS if view in (self.primary_view, *self.views))

    def label_of_output(self) -> dict[str, str]:
        """The label that each served output is judged against, wherever one is judged."""
        if self.model not in VIEW_MODELS:
            return dict(names.LABEL_OF_OUTPUT)
        column = {
            names.P_CABA: names.credit_caba,
            names.P_CABB: names.credit_cabb,
            names.P_CONVERSION: names.credit,
        }
        return {output: of(self.primary_view) for output, of in column.items()}

    def conversion_label(self) -> str:
        """What the model itself takes for a conversion. Its rates by id are inputs, so a baseline must not be
        told by them what its own label leaves out."""
        return SINGLE_TASKS.get(self.model, self.label_of_output()[names.P_CONVERSION])

    # Held-out days (split.holdout_days).
    calibration: Literal["none", "platt", "isotonic"] = "none"
    """Monotone map of every served output, fitted to the held-out days and exported with the model."""
    refit: bool = True
    """Train once more, on training and held-out days together, and keep what the held-out days taught."""

    @property
    def needs_holdout(self) -> bool:
        """Whether training asks for held-out days."""
        return self.calibration != "none" or self.lambda_cabb == "bilevel"

    # Training.
    batch_size: int = Field(128, ge=1)
    epochs: int = Field(3, ge=1)
    embedding_epochs: int = Field(1, ge=1)
    """Of these, the first passes, in which embeddings learn too. Ids are learned by heart at the second one
    (Zhang et al. 2022, "one-epoch phenomenon"); the rest of the network is not done by then."""
    dense_learning_rate: float = Field(5e-4, gt=0)
    """Adam, for everything but embeddings."""
    embedding_learning_rate: float = Field(1e-3, gt=0)
    """Adagrad with sparse updates, for embeddings. An id with n rows in a pass moves by at most twice this
    times the root of n: rare ones stay near their small random start, and their rate speaks for them. Logs of
    millions of clicks can afford 1e-2."""
    weight_decay: float = Field(0.5, ge=0)
    """Decoupled weight decay (Loshchilov & Hutter 2019) of a whole training: weights of dense layers that no
    gradient moves end at exp(-weight_decay) of their start, however many steps there are from 1,000 on; with
    fewer they keep more."""
    warmup_share: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which learning rates rise from 0; after it they fall linearly to 0."""
    log_every_steps: int = Field(20, ge=1)
    checkpoint_every_steps: int = Field(1000, ge=1)
    seed: Seed = 1
