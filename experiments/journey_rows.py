"""A file of journeys -> arrays that every variant of an experiment trains on: what prepare.py makes of logs.

A row is a touch, such as a display of an ad. A model sees its channel, the moment, and what the user was
shown before; a journey's conversion is taken to happen at its last touch, since the file says no more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from components.attribution_model.mta import fit_mta
from components.session_example_gen.splits import EVAL, SPLITS, TRAIN, SplitWindows
from components.similarity_transform.attribution_views import AttributionSettings
from experiments.attribution.journey_file import (
    VISIT_S,
    conversion_credits,
    journeys_of_touches,
    read_touches,
)
from experiments.prepare import key_of, made_once
from experiments.prepared import Prepared, save
from experiments.variants import Variant
from models import features as names
from models.feature_space import NUMERIC, FeatureSpace
from models.metrics.sums import user_group
from schemas.errors import InputError
from schemas.settings import Settings

CHANNEL, RECENT_CHANNELS = "channel", "recent_channels"
COUNTS = ("touches", "channel_touches", "visit_touches", "channels")
"""Earlier touches of the user: all, of the channel, of the visit; and their channels."""
DURATIONS = ("since_touch_s", "since_channel_s", "user_age_s")
MAY_BE_UNKNOWN = DURATIONS[:2]
DAY_S = 86_400


class JourneyRecipe(Settings):
    """What decides the arrays.

    Attributes:
        path, columns: of the file (`read_touches`).
        fingerprint: changes when the file, or the code that prepares it, changes.
        windows: training and evaluation days, UTC.
        attribution: views, and which touches of a journey they may credit; every touch is in scope.
    """

    path: Path
    columns: dict[str, str] = {}
    fingerprint: str
    windows: SplitWindows
    attribution: AttributionSettings


def prepare_journeys(
    recipe: JourneyRecipe, home: Path, say: Callable[[str], None] = lambda _: None
) -> Prepared:
    """The arrays of a recipe, from `home` if an earlier call left them there.

    Raises:
        InputError: the file cannot be used, or a split is empty.
    """
    made = made_once(
        home / f"journeys-{key_of(recipe)}",
        lambda work: _arrays(recipe, work),
        lambda: say("credits and features of touches"),
    )
    return Prepared.load(made)


def _arrays(recipe: JourneyRecipe, work: Path) -> None:
    rows = read_touches(recipe.path, recipe.columns)
    splits = split_touches(rows["time"].to_numpy(), recipe.windows, recipe.attribution.look_back_days)
    for split, chosen in splits.items():
        if not len(chosen):
            raise InputError(
                f"{recipe.path}: no touch in the {split} days is followed for "
                f"{recipe.attribution.look_back_days:g} days; move split.eval_start"
            )
    row = np.concatenate([splits[TRAIN], splits[EVAL]])
    train = splits[TRAIN]
    boundary = recipe.windows.bounds("UTC")[EVAL][0].timestamp()
    credits = touch_credits(rows, recipe.attribution, boundary)
    inputs, space = touch_inputs(rows, train)
    strings = rows.select(
        pl.col("user").cast(pl.String).alias(names.USER_ID),
        pl.col("journey").cast(pl.String).alias(names.SESSION_ID),
        pl.col("channel").alias(names.ITEM),
        pl.col("channel").alias(names.CATEGORY_TOP),
    )[row]
    group = user_group(strings[names.USER_ID].to_numpy())
    save(
        work,
        inputs={
            **{name: values[row] for name, values in inputs.items()},
            names.USER_FOLD: (group % names.USER_FOLDS).astype(np.int32),
        },
        labels={
            **{name: values[row].astype(np.float32) for name, values in credits.items()},
            names.ROW_WEIGHT: np.ones(len(row), np.float32),
        },
        alpha={Variant.model_fields["scheme"].default: np.ones(len(row), np.float32)},
        keys={
            names.EVENT_TIME: np.round(rows["time"].to_numpy()[row] * 1e6).astype(np.int64),
            "user_group": group,
        },
        strings=strings,
        facts={
            "train_rows": len(train),
            "eval_rows": len(row) - len(train),
            "eval_users": strings[names.USER_ID][len(train) :].n_unique(),
            "mean_alpha": {},
            "cardinality": space.cardinality,
            "numeric": space.numeric,
            "sequences": space.sequences,
            "windows": recipe.windows.model_dump(mode="json"),
            "time_zone": "UTC",
            "settings": recipe.model_dump(mode="json", include={"columns", "attribution"}),
        },
    )


def split_touches(time: np.ndarray, windows: SplitWindows, look_back_days: float) -> dict[str, np.ndarray]:
    """Row numbers of each split: touches of its days that were followed for the look-back inside it, so that
    their credits are final and no training label knows of a conversion in the evaluation days."""
    last = float(time.max())
    rows = {}
    for split in SPLITS:
        first, end = (moment and moment.timestamp() for moment in windows.bounds("UTC")[split])
        ripe = time + look_back_days * DAY_S <= (last if end is None else min(end, last))
        rows[split] = np.flatnonzero(ripe & (time >= (first or -np.inf)))
    return rows


def touch_credits(
    rows: pl.DataFrame, settings: AttributionSettings, end_of_training: float
) -> dict[str, np.ndarray]:
    """Credit of every touch under each view, its part from conversions on the touch's own channel, and the
    part from those on another, float64 [rows] by name of models/features.py.

    The mta view is fitted on journeys that ended before `end_of_training`, in seconds.

    Args:
        rows: of `read_touches`.
    """
    counted = countable(rows, settings)
    touches = rows.filter(pl.Series(counted))
    journeys = journeys_of_touches(touches)
    mta = None
    if "mta" in (settings.views or ()):
        end = touches["time"].to_numpy()[journeys.start + journeys.size - 1]
        mta = fit_mta(journeys.take(end < end_of_training), settings.mta)
    bought = journeys.take(journeys.converted)
    credited = counted.copy()
    credited[counted] = journeys.converted[journeys.journey]
    same = bought.same > 0
    found = {}
    for view, credit in conversion_credits(bought, settings, mta).items():
        parts = {
            names.credit(view): credit,
            names.credit_caba(view): credit * same,
            names.credit_cabb(view): credit * ~same,
        }
        for name, values in parts.items():
            found[name] = np.zeros(len(rows))
            found[name][credited] = values
    return found


def countable(rows: pl.DataFrame, settings: AttributionSettings) -> np.ndarray:
    """Which touches a view may credit, bool [rows]: not too old at the journey's end, not more than
    `most_touches`, and of each visit only the last with `one_per_session`. A journey's last touch always
    counts."""
    found = rows.select(
        young=pl.col("time").last().over("journey") - pl.col("time") <= settings.look_back_days * DAY_S,
        late=pl.int_range(pl.len()).reverse().over("journey") < settings.most_touches,
        last_of_visit=(pl.col("time").shift(-1).over("journey") - pl.col("time") > VISIT_S).fill_null(True),
    )
    counted = found["young"] & found["late"]
    if settings.touches == "one_per_session":
        counted &= found["last_of_visit"]
    return counted.to_numpy().copy()


def touch_inputs(rows: pl.DataFrame, train: np.ndarray) -> tuple[dict[str, np.ndarray], FeatureSpace]:
    """Model inputs of every touch as of its moment, in the order of the rows, and their sizes.

    Channels that no training row has share an id; counts and durations are log1p, scaled by the training
    rows.
    """
    known = (
        rows.with_row_index("row")
        .sort("user", "time", "row")
        .with_columns(
            touches=pl.int_range(pl.len()).over("user"),
            channel_touches=pl.int_range(pl.len()).over("user", "channel"),
            since_touch_s=pl.col("time").diff().over("user"),
            since_channel_s=pl.col("time").diff().over("user", "channel"),
            user_age_s=pl.col("time") - pl.col("time").first().over("user"),
        )
        .with_columns(
            visit=(pl.col("since_touch_s").fill_null(0) > VISIT_S).cum_sum().over("user"),
            channels=(pl.col("channel_touches") == 0).cast(pl.Int64).cum_sum().over("user")
            - (pl.col("channel_touches") == 0),
        )
        .with_columns(visit_touches=pl.int_range(pl.len()).over("user", "visit"))
    )
    vocabulary = rows["channel"][train].unique().sort()
    channel = known["channel"].replace_strict(
        vocabulary, np.arange(1, len(vocabulary) + 1), default=len(vocabulary) + 1, return_dtype=pl.Int32
    )
    second = known["time"].to_numpy().astype(np.int64)
    inputs = {
        CHANNEL: channel.to_numpy(),
        "hour_of_day": (second // 3600 % 24 + 1).astype(np.int32),
        "day_of_week": ((second // DAY_S + 3) % 7 + 1).astype(np.int32),  # 1970 began on a Thursday
        RECENT_CHANNELS: _recent(channel.to_numpy(), known["touches"].to_numpy()),
    }
    back = np.argsort(known["row"].to_numpy(), kind="stable")
    inputs = {name: values[back] for name, values in inputs.items()}
    inputs[NUMERIC] = _numeric(known.select(COUNTS + DURATIONS)[back], train)
    return inputs, FeatureSpace(
        cardinality={
            CHANNEL: len(vocabulary) + 2,
            **{name: size + 1 for name, size in names.CALENDAR.items()},
        },
        numeric=(*COUNTS, *DURATIONS, *(f"known_{name}" for name in MAY_BE_UNKNOWN)),
        sequences={RECENT_CHANNELS: CHANNEL},
    )


def _recent(ids: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Ids of the user's touches before each, newest first, [rows, SEQUENCE_LENGTH], 0 where there is none;
    rows are user by user, `earlier` of each user."""
    back = np.arange(1, names.SEQUENCE_LENGTH + 1)
    place = np.arange(len(ids))[:, None] - back
    return np.where(back <= earlier[:, None], ids[np.maximum(place, 0)], 0).astype(np.int32)


def _numeric(columns: pl.DataFrame, train: np.ndarray) -> np.ndarray:
    raw = columns.select(pl.all().cast(pl.Float64).log1p()).to_numpy()
    mean, sd = np.nanmean(raw[train], axis=0), np.nanstd(raw[train], axis=0)
    scaled = np.nan_to_num((raw - mean) / np.where(sd > 0, sd, 1))
    flags = columns.select(pl.col(MAY_BE_UNKNOWN).is_not_null()).to_numpy()
    return np.concatenate([scaled, flags], axis=1).astype(np.float32)
