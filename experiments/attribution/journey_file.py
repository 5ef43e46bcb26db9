"""Credited touches of a file of ready-made journeys: one row per touch, such as a display of an ad."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from components.attribution_model.journeys import Journeys
from components.attribution_model.mta import Mta, fit_mta
from components.similarity_transform.attribution_views import (
    AttributionSettings,
    normalised,
    rule_credits,
)
from components.similarity_transform.labels import HOUR
from components.similarity_transform.touch_paths import TouchPaths
from experiments.attribution.credited import Credited, position_names
from models.metrics.sums import user_group
from schemas.errors import InputError

VISIT_S = 1800
"""Touches this close to the journey's last are of its visit, seconds."""
COLUMNS = ("journey", "user", "channel", "time", "converted")
_READERS = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".gz": pl.read_csv}


def read_touches(path: Path, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Touches of a Parquet or CSV file as COLUMNS, journey by journey, oldest first: channel is a string,
    time seconds since the epoch.

    Args:
        columns: name in COLUMNS -> column of the file, where it differs. `time` is seconds or a timestamp,
            `converted` is 0 or 1 and the same for all touches of a journey.

    Raises:
        InputError: the file cannot be read, or a column is missing or not what it should be.
    """
    wanted = {name: name for name in COLUMNS} | dict(columns or {})
    unknown = sorted(set(wanted) - set(COLUMNS))
    if unknown:
        raise InputError(f"no journey column {unknown[0]!r}; name one of {', '.join(COLUMNS)}")
    if path.suffix not in _READERS:
        raise InputError(f"{path}: journeys are read from .parquet, .csv and .csv.gz files")
    try:
        rows = _READERS[path.suffix](path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    missing = [column for column in wanted.values() if column not in rows.columns]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}; it has {', '.join(rows.columns)}; see --column")
    rows = rows.select(**{name: pl.col(column) for name, column in wanted.items()})
    if not len(rows) or rows.null_count().sum_horizontal().item():
        raise InputError(f"{path}: {'holds no touches' if not len(rows) else 'a touch lacks a value'}")
    time = rows["time"]
    seconds = time.dt.epoch("us") / 1e6 if time.dtype.is_temporal() else time.cast(pl.Float64, strict=False)
    converted = rows["converted"].cast(pl.Int64, strict=False)
    if seconds.null_count() or converted.null_count() or not converted.is_in([0, 1]).all():
        raise InputError(f"{path}: time must be seconds or a timestamp, and converted 0 or 1")
    return rows.with_columns(pl.col("channel").cast(pl.String), time=seconds, converted=converted).sort(
        "journey", "time", maintain_order=True
    )


def journeys_of_touches(rows: pl.DataFrame) -> Journeys:
    """Journeys of touches that `read_touches` gave."""
    first = rows["journey"].rle_id().to_numpy()
    size = np.bincount(first)
    start = np.cumsum(size) - size
    last = np.repeat(start + size - 1, size)
    time, channel = rows["time"].to_numpy(), rows["channel"]
    names = tuple(sorted(channel.unique().to_list()))
    codes = channel.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    same = (codes == codes[last]).astype(np.float32)
    return Journeys(
        size=size,
        converted=rows["converted"].to_numpy()[start] == 1,
        weight=np.ones(len(size)),
        user_group=user_group(rows["user"].cast(pl.String).to_numpy()[start]),
        channel=codes,
        channels=names,
        seller=np.zeros(len(codes), np.int64),
        sellers=("",),
        gap_h=((time[last] - time) / 3600).astype(np.float32),
        late=(time[last] - time < VISIT_S).astype(np.float32),
        relation=same,
        same=same,
    )


def credited_journeys(journeys: Journeys, settings: AttributionSettings, source: str) -> Credited:
    """Credits of the journeys that converted; the mta view, if named, is fitted on all of them.

    Raises:
        InputError: no journey converted.
    """
    bought = journeys.take(journeys.converted)
    if not len(bought):
        raise InputError(f"{source}: no journey converted, so there is nothing to credit")
    paths = _paths(bought)
    mta = fit_mta(journeys, settings.mta) if "mta" in (settings.views or ()) else None
    credits = conversion_credits(bought, settings, mta)
    converted = np.repeat(journeys.converted, journeys.size)
    clicks = {"user_group": journeys.user_group[journeys.journey]}
    for view, credit in credits.items():
        clicks[view] = np.zeros(len(converted))
        clicks[view][converted] = credit
    return Credited(
        views=tuple(settings.views or ()),
        dimensions=("position", "channel", "from the end"),
        touches=pl.DataFrame(
            {
                "path": bought.journey,
                "user_group": bought.user_group[bought.journey],
                "position": position_names(paths),
                "channel": np.array(bought.channels, object)[bought.channel],
                "from the end": [
                    str(k) if k < _SHOWN else f"{_SHOWN} or more" for k in paths.from_end.tolist()
                ],
                **credits,
            },
            schema_overrides={"position": pl.String, "channel": pl.String},
        ),
        clicks=pl.DataFrame(clicks),
        source=source,
        mta={} if mta is None else {"method": mta.settings.method, **mta.meta},
    )


def conversion_credits(
    bought: Journeys, settings: AttributionSettings, mta: Mta | None
) -> dict[str, np.ndarray]:
    """Credit of every touch of journeys that converted under each view, [q] by view; those of a journey sum
    to 1."""
    paths = _paths(bought)
    return {
        view: normalised(mta.effects(bought), paths) if view == "mta" else rule_credits(view, paths, settings)
        for view in settings.views or ()
    }


def _paths(bought: Journeys) -> TouchPaths:
    return TouchPaths(
        end=np.arange(len(bought)),
        start=bought.start,
        size=bought.size,
        path=bought.journey,
        touch=np.arange(len(bought.channel)),
        age=bought.gap_h.astype(np.float64) * HOUR,
    )


_SHOWN = 5
"""Touches from the end that have a row of their own."""
