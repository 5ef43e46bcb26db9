"""CPU seconds from session rows to S by co-engagement, against the same S by SciPy and by scikit-learn.

    python -m benchmarks.similarity [--users 200000 --leaves 3000]

Ours goes partition by partition, merges sums (with the support of every pair, which the peers leave out) and
makes the table; the peers build one matrix of all users. "SciPy" normalises its columns and multiplies it
with itself; "scikit-learn" is `cosine_similarity(dense_output=False)`. All start from the same rows and share
the step from rows to counts, which is timed apart. Ways take turns; the fastest of the rounds counts.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from components.category_similarity.co_engagement import CoEngagement, engagement
from components.category_similarity.learning import merged, similarity_table
from components.category_similarity.settings import SimilaritySettings

PARTITIONS = 16
EVENTS_PER_USER = 17
OPTIONS = {
    "taxonomy_cf": SimilaritySettings(shrinkage=0),
    "with idf (three moments)": SimilaritySettings(shrinkage=0, damping="idf"),
    "with a half-life": SimilaritySettings(shrinkage=0, half_life_days=14),
    "with shrinkage": SimilaritySettings(shrinkage=3),
}


def session_rows(users: int, leaves: int, seed: int = 1) -> list[pl.DataFrame]:
    """Partitions of made-up rows: leaves by Zipf's law, a user's around a few favourites."""
    rng = np.random.default_rng(seed)
    names = pl.Series([f"Home > Shelf {k % 60} > Leaf {k}" for k in range(leaves)])
    parts = []
    for part in range(PARTITIONS):
        mine = users // PARTITIONS
        user = np.repeat(np.arange(mine), rng.poisson(EVENTS_PER_USER, mine))
        favourite = rng.integers(0, leaves, mine)[user]
        near = (favourite + rng.integers(-4, 5, len(user))) % leaves
        popular = np.minimum(rng.zipf(1.2, len(user)) - 1, leaves - 1)
        leaf = np.where(rng.random(len(user)) < 0.6, near, popular)
        kind = rng.choice(["click", "add_to_cart", "purchase"], len(user), p=[0.9, 0.07, 0.03])
        parts.append(
            pl.DataFrame(
                {
                    "user_id": pl.Series(np.char.mod(f"{part:02d}-%07d", user)),
                    "session_id": "1",
                    "event_time": pl.Series(rng.integers(0, 28 * 86_400_000_000, len(user))).cast(
                        pl.Datetime("us", "UTC")
                    ),
                    "event_type": pl.Series(kind).cast(pl.Categorical),
                    "is_click": kind == "click",
                    "leaf": names.gather(leaf).cast(pl.Categorical),
                }
            )
        )
    return parts


def ours(parts: list[pl.DataFrame], settings: SimilaritySettings) -> np.ndarray:
    """S of the stored pairs."""
    sums = merged([{"leaf": CoEngagement.of(rows, settings)} for rows in parts])
    return similarity_table(sums, settings).cosine


def counts(parts: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Weighted counts by user and leaf: the step that all ways share."""
    return [engagement(rows, SimilaritySettings(), "leaf", 0.0) for rows in parts]


def matrix(counted: list[pl.DataFrame]) -> sparse.csr_matrix:
    """All users by all leaves."""
    whole = pl.concat(counted).select(
        pl.col("user_id").cast(pl.Categorical).to_physical().alias("row"),
        pl.col("leaf").cast(pl.Categorical).to_physical().alias("column"),
        "weight",
    )
    return sparse.csr_matrix(
        (whole["weight"].to_numpy(), (whole["row"].to_numpy(), whole["column"].to_numpy()))
    )


def scipy_gram(v: sparse.csr_matrix) -> np.ndarray:
    norms = np.sqrt(np.asarray(v.multiply(v).sum(axis=0)).ravel())
    normalised = v @ sparse.diags(1.0 / np.maximum(norms, 1e-300))
    return sparse.triu(normalised.T @ normalised, k=1).data


def sklearn_cosine(v: sparse.csr_matrix) -> np.ndarray:
    return sparse.triu(cosine_similarity(v.T, dense_output=False), k=1).data


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def main() -> None:
    """Print seconds and ratios, after checking that all ways find the same S."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--leaves", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    parts = session_rows(arguments.users, arguments.leaves)
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        shared, counted = timed(lambda: counts(parts))
        found = {}
        for name, settings in OPTIONS.items():
            spent, found[name] = timed(lambda settings=settings: ours(parts, settings))
            seconds.setdefault(name, []).append(spent)
        for name, way in (("SciPy, normalised Gram", scipy_gram), ("scikit-learn", sklearn_cosine)):
            spent, found[name] = timed(lambda way=way, counted=counted: way(matrix(counted)))
            seconds.setdefault(name, []).append(shared + spent)
        seconds.setdefault("rows to counts, in all of them", []).append(shared)
    for name in ("SciPy, normalised Gram", "scikit-learn"):
        np.testing.assert_allclose(np.sort(found[name]), np.sort(found["taxonomy_cf"]), atol=1e-6)
    events = sum(map(len, parts))
    print(
        f"{arguments.users:,} users, {arguments.leaves:,} leaves, {events:,} events, "
        f"{len(found['taxonomy_cf']):,} pairs"
    )
    own = min(seconds["taxonomy_cf"])
    for name, spent in seconds.items():
        print(f"{name:<34}{min(spent):7.2f} CPU s   {min(spent) / own:5.2f} x taxonomy_cf")
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB, all ways and rows"
    )


if __name__ == "__main__":
    main()
