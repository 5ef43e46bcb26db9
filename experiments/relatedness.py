"""Which similarity finds the true relatedness of a simulated store's categories?

Every variant learns S from the logs of several stores (worlds and seeds). It is judged twice against the
planted truth: on all pairs of categories, and on the pairs that S is made for, clicked A and bought B of the
same session, whose true categories are known.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from scipy import stats

from components.category_similarity.learning import learn_similarity
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from components.session_example_gen.catalog import read_catalog
from components.session_example_gen.contract_rows import check_rows
from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import batches, plan
from components.session_example_gen.sessions import ARRIVAL, to_arrow, to_sessions
from components.similarity_transform.labels import find_clicks, find_touches, relatedness
from components.similarity_transform.timeline import read_timeline
from models.metrics.sums import auc
from schemas.events import UNKNOWN, LogSource
from schemas.output import write_whole
from simulator.store import simulate
from simulator.taxonomy import RELATED_FLOOR, Taxonomy
from simulator.worlds import World

REFERENCE = "taxonomy_cf"
"""The paper's scheme, without options: what every variant is compared with."""


def _settings(shrinkage: float = 0.0, **options: Any) -> SimilaritySettings:
    """Settings with no option but the given ones, whatever the defaults are."""
    return SimilaritySettings(shrinkage=shrinkage, **options)


VARIANTS: dict[str, SimilaritySettings] = {
    REFERENCE: _settings(),
    "unit session": _settings(unit="session"),
    "clicks only": _settings(event_weights={"click": 1}),
    "equal event weights": _settings(event_weights={"click": 1, "add_to_cart": 1, "purchase": 1}),
    "half-life 7 days": _settings(half_life_days=7),
    "idf": _settings(damping="idf"),
    "shrinkage 1": _settings(shrinkage=1),
    "shrinkage 3": _settings(shrinkage=3),
    "shrinkage 10": _settings(shrinkage=10),
    "shrinkage 30": _settings(shrinkage=30),
    "back-off 10": _settings(back_off=10),
    "back-off 100": _settings(back_off=100),
    "back-off 1000": _settings(back_off=1000),
    "leave user out": _settings(leave_user_out=True),
    "clicks, shrinkage 10": _settings(event_weights={"click": 1}, shrinkage=10),
    "idf, shrinkage 10": _settings(damping="idf", shrinkage=10),
    "shrinkage 10, back-off": _settings(shrinkage=10, back_off=100),
    "shrinkage 10, leave out": _settings(shrinkage=10, leave_user_out=True),
    "i2i, rank 16": _settings(scheme="i2i", rank=16),
    "i2i, rank 64": _settings(scheme="i2i", rank=64),
    "i2i, rank 256": _settings(scheme="i2i", rank=256),
    "semantic": _settings(scheme="semantic"),
    "blend, 0.25 semantic": _settings(scheme="blend", semantic_share=0.25),
    "blend, 0.5 semantic": _settings(scheme="blend"),
    "blend 0.5, shrinkage 10": _settings(scheme="blend", shrinkage=10),
    "static": _settings(scheme="static"),
}
"""What is compared, by name."""

METRICS = {
    "spearman": "rank correlation with the truth over all pairs of categories (Spearman)",
    "kendall": "Kendall's tau-b with the truth over all pairs of categories",
    "precision": "share of a category's closest that are truly related",
    "auc": "AUC of alpha, related against unrelated, over (clicked, bought)",
    "auc_across": "the same AUC over pairs of different true categories",
    "alpha": "mean alpha of (clicked, bought)",
    "alpha_related": "mean alpha of truly related ones",
    "alpha_unrelated": "mean alpha of truly unrelated ones",
}
QUALITY = ("spearman", "precision", "auc")
"""What a variant has to be better in, in every world, to be called better."""


@dataclass(frozen=True)
class SimulatedLog:
    """Sessions of a simulated store with its truth.

    Attributes:
        sessions: a Sessions artifact; all days are in the training split.
        truth: true relatedness, [leaves, leaves], by `paths`.
        item_leaf: item -> index of its true leaf.
    """

    sessions: Path
    paths: list[str]
    truth: np.ndarray
    item_leaf: dict[str, int]


def simulated_log(world: World, home: Path) -> SimulatedLog:
    """The log of a world, from `home` if an earlier call left it there."""
    folder = home / f"{world.name}-{world.seed}-{world.sha256()[:12]}"
    simulate(world, folder / "store")
    sessions = folder / "sessions"
    if not sessions.exists():
        work = folder / f".sessions.{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        (work / "Split-train").mkdir(parents=True)
        _write_sessions(folder / "store", work / "Split-train")
        os.replace(work, sessions)
    taxonomy = Taxonomy()
    index = {path: i for i, path in enumerate(taxonomy.paths)}
    truth = np.zeros((len(index), len(index)))
    pairs = pl.read_parquet(folder / "store" / "truth" / "relatedness.parquet")
    at = [
        pairs[name].replace_strict(index, return_dtype=pl.Int64).to_numpy() for name in ("leaf_a", "leaf_b")
    ]
    truth[at[0], at[1]] = pairs["relatedness"].to_numpy()
    items = pl.read_parquet(folder / "store" / "truth" / "items.parquet")
    return SimulatedLog(
        sessions=sessions,
        paths=taxonomy.paths,
        truth=truth,
        item_leaf=dict(zip(items["item"], (index[leaf] for leaf in items["leaf"]), strict=True)),
    )


def _write_sessions(store: Path, folder: Path) -> None:
    """Sessions by the pipeline's own steps; a file of a simulated store holds its users whole."""
    files = sorted((store / "events").glob("*.parquet"))
    for number, path in enumerate(files):
        source = LogSource(events=[str(path)], catalog=str(store / "catalog.parquet"))
        layout = layout_of(source)
        rows = [
            check_rows(batch.rows, layout).events
            for unit in plan(source, layout)
            for batch in batches(unit, layout)
        ]
        events = pl.concat(rows).rename({"row": ARRIVAL})
        sessions = to_sessions(events, read_catalog(source), source, layout.category_separator)
        pq.write_table(to_arrow(sessions, source), folder / f"part-{number:05d}-of-{len(files):05d}.parquet")


def judge(log: SimulatedLog, settings: SimilaritySettings, k: int = 3) -> dict[str, float]:
    """The METRICS of one variant on one store; NaN where it ranks nothing.

    Args:
        k: precision is taken over the k closest categories, or over as many as are truly related if those
            are fewer; a place that no pair with S > 0 fills is a miss.
    """
    table = learn_similarity(log.sessions, settings)
    s = _between_leaves(table, log)
    above = np.triu_indices(len(s), 1)
    found, true = s[above], log.truth[above]
    alpha, related = _purchases(table, log)
    near, across = related >= RELATED_FLOOR, related < 1
    return {
        "spearman": _correlation(stats.spearmanr, found, true),
        "kendall": _correlation(stats.kendalltau, found, true),
        "precision": precision_at(s, log.truth >= RELATED_FLOOR, k),
        "auc": auc(near.astype(float), alpha),
        "auc_across": auc(near[across].astype(float), alpha[across]),
        "alpha": float(alpha.mean()),
        "alpha_related": float(alpha[near].mean()),
        "alpha_unrelated": float(alpha[~near].mean()),
    }


def precision_at(s: np.ndarray, related: np.ndarray, k: int) -> float:
    """Mean over the rows with anything related of the share of hits among the min(k, related) highest S.

    Args:
        s: [n, n]; related: bool [n, n]; diagonals do not count.
    """
    s, related = s.copy(), related.copy()
    np.fill_diagonal(s, 0)
    np.fill_diagonal(related, False)
    depth = np.minimum(related.sum(axis=1), k)
    order = np.argsort(-s, axis=1, kind="stable")[:, :k]
    hit = np.take_along_axis(related & (s > 0), order, axis=1) & (np.arange(k) < depth[:, None])
    return float((hit.sum(axis=1) / np.maximum(depth, 1))[depth > 0].mean())


def _correlation(measure: Callable, one: np.ndarray, other: np.ndarray) -> float:
    return math.nan if np.ptp(one) == 0 else float(measure(one, other).statistic)


def _between_leaves(table: SimilarityTable, log: SimulatedLog) -> np.ndarray:
    """S between all true leaves; of item embeddings, the mean over the leaves' pairs of items."""
    n = len(log.paths)
    s = table.lookup(np.repeat(np.array(log.paths, object), n), log.paths * n).reshape(n, n).astype(float)
    if table.items is None:
        return s
    shown = pl.scan_parquet(log.sessions / "Split-train" / "*.parquet")
    shown = shown.select(pl.col("item", "leaf").cast(pl.String)).unique("item").collect()
    leaf_of = dict(shown.filter(pl.col("leaf") != UNKNOWN).rows())
    index = {path: i for i, path in enumerate(log.paths)}
    leaf = np.array([index.get(leaf_of.get(item), -1) for item in table.items.items])
    vectors = table.items.vectors[leaf >= 0]
    member = np.zeros((len(vectors), n))
    member[np.arange(len(vectors)), leaf[leaf >= 0]] = 1
    total = member.T @ np.clip(vectors @ vectors.T, 0, 1) @ member
    counts = member.sum(axis=0)
    pairs = np.outer(counts, counts)
    return np.where(pairs > 0, total / np.maximum(pairs, 1), s)


def _purchases(table: SimilarityTable, log: SimulatedLog) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and true relatedness of every (clicked item, other item bought after it in the session)."""
    alphas, truths = [], []
    for part in sorted((log.sessions / "Split-train").iterdir()):
        events = read_timeline(part, None, "UTC", with_features=False)
        clicks = find_clicks(events)
        touches = find_touches(events, clicks, "session")
        clicked, bought = clicks.anchor[touches.example], touches.purchase
        other = events.item[clicked] != events.item[bought]
        clicked, bought = clicked[other], bought[other]
        true_leaf = np.array([log.item_leaf[item] for item in events.names["item"].to_pylist()])
        alphas.append(relatedness(events, clicked, bought, table))
        truths.append(log.truth[true_leaf[events.item[clicked]], true_leaf[events.item[bought]]])
    return np.concatenate(alphas).astype(float), np.concatenate(truths)


def run(
    worlds: Mapping[str, Sequence[World]],
    variants: Mapping[str, SimilaritySettings],
    home: Path,
    code: str,
    k: int,
    done: Callable[[str, int, int], None],
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Judges every variant on every store; what an earlier call judged is read back.

    Args:
        worlds: name -> the same world with several seeds.
        home: receives the logs and the judgements.
        code: changes when the code does; earlier judgements then do not count.
        done: told (what, finished, total) after each judgement.

    Returns:
        World -> variant -> METRICS of each seed.
    """
    total = sum(len(seeds) for seeds in worlds.values()) * len(variants)
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {variant: [] for variant in variants} for name in worlds
    }
    finished = 0
    for name, seeds in worlds.items():
        for world in seeds:
            log = None
            for variant, settings in variants.items():
                key = f"{world.sha256()}{settings.model_dump_json()}{code}{k}"
                kept = home / "judged" / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
                if not kept.exists():
                    log = log or simulated_log(world, home / "logs")
                    write_whole(kept, json.dumps(judge(log, settings, k)) + "\n")
                found[name][variant].append(json.loads(kept.read_text()))
                finished += 1
                done(f"{name}, seed {world.seed}: {variant}", finished, total)
    return found


def compose(
    judged: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]],
    stores: Mapping[str, Sequence[World]],
    variants: Mapping[str, SimilaritySettings],
    k: int,
) -> dict[str, Any]:
    """Means over seeds with 95 % intervals (Student's t), and the paired difference to REFERENCE."""
    worlds = {
        name: {
            "users": stores[name][0].users,
            "seeds": [world.seed for world in stores[name]],
            "rows": {
                variant: {metric: _against(metric, seeds, found[REFERENCE]) for metric in METRICS}
                for variant, seeds in found.items()
            },
        }
        for name, found in judged.items()
    }

    def better(variant: str) -> bool:
        lows = [
            world["rows"][variant][metric]["against"]["interval"][0]
            for world in worlds.values()
            for metric in QUALITY
        ]
        return all(low is not None and low > 0 for low in lows)

    return {
        "worlds": worlds,
        "better": [variant for variant in variants if better(variant)],
        "k": k,
        "settings": {name: settings.model_dump(mode="json") for name, settings in variants.items()},
    }


def _against(
    metric: str, seeds: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    mine, other = ([each[metric] for each in judged] for judged in (seeds, reference))
    return {**_mean(mine), "against": _mean([a - b for a, b in zip(mine, other, strict=True)])}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % interval over seeds; None where undefined."""
    n = len(values)
    if any(map(math.isnan, values)):
        return {"mean": None, "interval": [None, None]}
    mean = float(np.mean(values))
    if n < 2:
        return {"mean": mean, "interval": [None, None]}
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return {"mean": mean, "interval": [mean - half, mean + half]}
