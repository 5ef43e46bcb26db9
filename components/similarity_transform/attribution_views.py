"""Attribution views: how a purchase is shared among its touches, and what a click gets (MAL 3.1).

A view weighs the touches of every path; weights are normalised within the path, so that the credits of a
purchase sum to 1. A path whose weights are all zero credits its last touch. A click example is credited with
what its clicks get of all purchases, at most 1, and apart for purchases of its own item group (CABA) and of
others (CABB).

A new view is one function from paths to weights, listed in `_WEIGHTS`, and its name in models.features.VIEWS.
Weights of `mta` come from a fitted model (components/attribution_model).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from components.attribution_model.mta import Mta, MtaSettings
from components.attribution_model.session_journeys import journeys_of
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.labels import HOUR, Clicks, relatedness
from components.similarity_transform.timeline import Timeline
from components.similarity_transform.touch_paths import TouchPaths, TouchSettings, purchase_paths
from models import features as names

View = Literal[names.VIEWS]
Share = Annotated[float, Field(ge=0, le=1)]


class AttributionSettings(TouchSettings):
    """Under which attribution views clicks are labelled.

    Attributes:
        views: None: those that the chosen model learns from.
        half_life_days: of `time_decay`: a touch this much older than another weighs half as much.
        position_weights: of `position_based`: the first touch, the last, and those between them together.
        mta: how the model behind the `mta` view is learned.
    """

    views: tuple[View, ...] | None = None
    half_life_days: float = Field(1, gt=0)
    position_weights: tuple[Share, Share, Share] = (0.4, 0.4, 0.2)
    mta: MtaSettings = MtaSettings()

    @property
    def label_days(self) -> float:
        """How long a click must be followed before its credits are known."""
        return self.look_back_days if self.views else 0.0

    @model_validator(mode="after")
    def _possible(self) -> AttributionSettings:
        if self.views and len(set(self.views)) < len(self.views):
            raise ValueError(f"views names one twice: {', '.join(self.views)}")
        if not sum(self.position_weights[:2]) > 0:
            raise ValueError("position_weights give neither the first nor the last touch any weight")
        return self


NO_VIEWS = AttributionSettings(views=())


def rule_credits(view: str, paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    """Credit of every touch under a rule-based view, [q]; those of a path sum to 1."""
    return normalised(_WEIGHTS[view](paths, settings), paths)


def path_credits(
    events: Timeline,
    clicks: Clicks,
    paths: TouchPaths,
    similarity: SimilarityTable,
    settings: AttributionSettings,
    mta: Mta | None = None,
) -> dict[str, np.ndarray]:
    """Credit of every touch under each view of the settings, [q] by view; those of a path sum to 1.

    Raises:
        ValueError: the `mta` view without its model.
    """
    credits = {}
    for view in settings.views or ():
        if view != "mta":
            credits[view] = rule_credits(view, paths, settings)
        elif mta is None:
            raise ValueError("the mta view needs a fitted model")
        else:
            journeys = journeys_of(events, clicks, paths, similarity, settings.mta.channel)
            credits[view] = normalised(mta.effects(journeys), paths)
    return credits


def normalised(weights: np.ndarray, paths: TouchPaths) -> np.ndarray:
    """Non-negative weights of touches as shares of their paths; the last touch's is 1 where all are zero."""
    total = np.add.reduceat(weights, paths.start) if len(weights) else weights
    lost = total[paths.path] <= 0
    share = np.where(lost, paths.from_end == 0, weights)
    return share / np.where(lost, 1.0, total[paths.path])


def _last_click(paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    return (paths.from_end == 0).astype(np.float64)


def _first_click(paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    return (paths.position == 0).astype(np.float64)


def _linear(paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    return np.ones(len(paths.path))


def _time_decay(paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    """2 ** -(age / half-life), the age beyond the latest touch's, so that nothing underflows together."""
    latest = paths.age[paths.start + paths.size - 1]
    return np.exp2((latest[paths.path] - paths.age) / (settings.half_life_days * 24 * HOUR))


def _position_based(paths: TouchPaths, settings: AttributionSettings) -> np.ndarray:
    first, last, between = settings.position_weights
    inner = (between / np.maximum(paths.size - 2, 1))[paths.path]
    return np.where(paths.position == 0, first, np.where(paths.from_end == 0, last, inner))


_WEIGHTS: dict[str, Callable[[TouchPaths, AttributionSettings], np.ndarray]] = {
    "last_click": _last_click,
    "first_click": _first_click,
    "linear": _linear,
    "time_decay": _time_decay,
    "position_based": _position_based,
}


def credit_columns(
    events: Timeline,
    clicks: Clicks,
    similarity: SimilarityTable,
    settings: AttributionSettings,
    mta: Mta | None = None,
) -> dict[str, np.ndarray]:
    """The columns `models.features.credit_columns(settings.views)`, float32 [m] by example.

    Examples of the training split are not credited with purchases of the eval split. The alpha of an example
    without CABB credit is NaN.
    """
    if not settings.views:
        return {}
    paths = purchase_paths(events, clicks, similarity, settings)
    example, bought = clicks.example[paths.touch], paths.end[paths.path]
    anchor = clicks.anchor[example]
    seen = events.in_eval[anchor] | ~events.in_eval[bought]
    same = seen & (events.item[anchor] == events.item[bought])
    other = np.flatnonzero(seen & ~same)
    same = np.flatnonzero(same)
    alpha = relatedness(events, anchor[other], bought[other], similarity)
    columns = {}
    for view, credit in path_credits(events, clicks, paths, similarity, settings, mta).items():
        caba = np.bincount(example[same], credit[same], len(clicks.anchor))
        cabb = np.bincount(example[other], credit[other], len(clicks.anchor))
        related = np.bincount(example[other], credit[other] * alpha, len(clicks.anchor))
        with np.errstate(invalid="ignore"):
            mean = np.where(cabb.astype(np.float32) > 0, related / cabb, np.nan)
        columns[names.credit(view)] = np.minimum(caba + cabb, 1)
        columns[names.credit_caba(view)] = np.minimum(caba, 1)
        columns[names.credit_cabb(view)] = np.minimum(cabb, 1)
        columns[names.credit_alpha(view)] = mean
    return {name: values.astype(np.float32) for name, values in columns.items()}


def credits_final(
    events: Timeline, clicks: Clicks, settings: AttributionSettings, train_end: int, eval_end: int
) -> np.ndarray:
    """Which examples no later purchase can credit any more: bool [m].

    Every click of the example must have been followed for the whole look-back inside its split.

    Args:
        train_end, eval_end: first moment that a split does not hold, microseconds since the epoch.
    """
    if not settings.views:
        return np.ones(len(clicks.anchor), bool)
    last = np.zeros(len(clicks.anchor), np.int64)
    np.maximum.at(last, clicks.example, clicks.click)
    end = np.where(events.in_eval[clicks.anchor], eval_end, train_end)
    return events.time[last] + settings.look_back <= end
