"""What S of two leaves would be without one user: sums over users let any of them be taken out, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from components.category_similarity.co_engagement import CoEngagement, engagement, log_spread, unit_keys
from components.category_similarity.evidence import Level, co_engagement_relatedness, levels_of
from components.category_similarity.settings import SimilaritySettings


class UserEffect:
    """How S by co-engagement changes when users are left out.

    A leaf that only the left-out user engaged with stays in the list of leaves, without support.
    """

    def __init__(self, sums: CoEngagement, settings: SimilaritySettings):
        self._sums, self._settings = sums, settings
        self._levels = levels_of(sums, settings)

    def of_leaving_out(
        self, user: np.ndarray, a: np.ndarray, b: np.ndarray, rows: pl.DataFrame
    ) -> np.ndarray:
        """S of leaves a and b without the user minus S with everyone: float64 [q].

        Args:
            user: of each pair, [q], in the values of `rows`.
            a, b: positions of different leaves, [q].
            rows: all training rows of these users, columns `columns_read("leaf")`; `user_id` and
                `session_id` may be integer codes.
        """
        engaged = self._engaged(rows)
        asked = pl.DataFrame({"pair": np.arange(len(user)), "user_id": user})
        without, whole = [], []
        for level in self._levels:
            every = level.between(a, b)
            own = self._own(level, engaged, asked.with_columns(p=level.group[a], q=level.group[b]))
            whole.append(every)
            without.append(replace(every, **{name: getattr(every, name) - own[name] for name in own}))
        return co_engagement_relatedness(without, self._settings) - co_engagement_relatedness(
            whole, self._settings
        )

    def _engaged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The users' non-zero coordinates, damped, with the position of the leaf."""
        settings = self._settings
        engaged = engagement(rows, settings, "leaf", self._sums.epoch)
        if settings.damping == "idf":
            spread = engaged.select(pl.len().over(unit_keys(settings))).to_series().to_numpy()
            idf = 1.0 + log_spread(np.array(len(self._sums.names))) - log_spread(spread)
            engaged = engaged.with_columns(pl.col("weight") * pl.Series(idf))
        names = pl.Series(self._sums.names.tolist(), dtype=pl.String)
        return engaged.with_columns(leaf=pl.Series(names.search_sorted(engaged["leaf"].cast(pl.String))))

    def _own(self, level: Level, engaged: pl.DataFrame, asked: pl.DataFrame) -> dict[str, np.ndarray]:
        """What each pair's user added to the evidence of its groups p and q, by field of Evidence."""
        unit = unit_keys(self._settings)
        units = (
            engaged.with_columns(group=pl.Series(level.group[engaged["leaf"].to_numpy()]))
            .group_by(*unit, "group")
            .agg(
                one=pl.col("weight").sum(), two=(pl.col("weight") ** 2).sum(), leaves=pl.len().cast(pl.Int64)
            )
        )
        alone = units.group_by("user_id", "group").agg(
            square=pl.col("two").sum(), users=pl.col("leaves").sum()
        )
        within = pl.col("p") == pl.col("q")
        together = (
            asked.join(units, left_on=["user_id", "p"], right_on=["user_id", "group"])
            .join(units, left_on=[*unit, "q"], right_on=[*unit, "group"], suffix="_b")
            .select(
                "pair",
                dot=pl.when(within)
                .then((pl.col("one") ** 2 - pl.col("two")) / 2)
                .otherwise(pl.col("one") * pl.col("one_b")),
                both=pl.when(within)
                .then(pl.col("leaves") * (pl.col("leaves") - 1) // 2)
                .otherwise(pl.col("leaves") * pl.col("leaves_b")),
            )
            .group_by("pair")
            .sum()
        )
        found = asked.join(together, on="pair", how="left", maintain_order="left")
        for side, group in (("a", "p"), ("b", "q")):
            named = alone.rename({"square": f"square_{side}", "users": f"users_{side}"})
            found = found.join(
                named,
                left_on=["user_id", group],
                right_on=["user_id", "group"],
                how="left",
                maintain_order="left",
            )
        columns = ("dot", "both", "square_a", "square_b", "users_a", "users_b")
        return {name: found[name].fill_null(0).to_numpy() for name in columns}
