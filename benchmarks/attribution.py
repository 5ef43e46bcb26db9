"""Labels under five attribution views against last_click alone, and the attribution models on their own.

    python -m benchmarks.attribution --events 5_000_000

1. Label building (clicks, purchases, CABA and CABB labels, credits) of N synthetic events with the five
   rule-based views, against the same with last_click alone. Goal: at most 1.5 times its CPU time.
2. Fit (3 folds) and inference of the data-driven view on the journeys of the same events, method by method.
3. Shao & Li and Markov on made-up journeys against the public packages `mta` and
   `marketing-attribution-models` (dev dependencies); the channels' credits must agree.

Seconds are CPU seconds of this process; the programs of a comparison take turns, and the fastest
turn of each counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from components.attribution_model.channel_models import count_channels, markov, shao_li
from components.attribution_model.journeys import Journeys, concat
from components.attribution_model.mta import MtaSettings, fit_mta
from components.attribution_model.session_journeys import journeys_of, training_journeys
from components.category_similarity.co_engagement import CoEngagement
from components.category_similarity.schemes import TaxonomyCF
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import SimilarityTable
from components.similarity_transform.attribution_views import AttributionSettings, credit_columns
from components.similarity_transform.click_examples import Observed, label_partition
from components.similarity_transform.labels import LabelSettings, find_clicks
from components.similarity_transform.timeline import Timeline, timeline
from components.similarity_transform.touch_paths import purchase_paths

GOAL = 1.5
RULES = ("last_click", "first_click", "linear", "time_decay", "position_based")
PARTITION_EVENTS = 625_000
EVENTS_PER_USER, VISITS, DAYS, LEAVES, ITEMS_PER_LEAF, CHANNELS = 20, 4, 60, 3000, 33, 8
TYPES = np.array(["click", "detail_view", "add_to_cart", "checkout", "purchase"])
ODDS = (0.62, 0.18, 0.11, 0.04, 0.05)
GAP = 1_800_000_000
END = DAYS * 86_400_000_000
TURNS = 3


def session_rows(events: int, seed: int) -> pa.Table:
    """Session rows of one partition: shoppers with a favourite leaf, skewed popularity, four visits each."""
    rng = np.random.default_rng(seed)
    users = max(events // EVENTS_PER_USER, 1)
    user = np.sort(rng.integers(0, users, events))
    favourite = (LEAVES * rng.random(users) ** 2).astype(np.int64)
    visit = rng.integers(0, VISITS, events)
    begins = rng.random((users, VISITS)) * (DAYS * 86400 - 3600)
    seconds = begins[user, visit] + rng.random(events) * 1800
    leaf = (LEAVES * rng.random(events) ** 2).astype(np.int64)
    leaf = np.where(rng.random(events) < 0.7, favourite[user], leaf)
    item = leaf * ITEMS_PER_LEAF + (ITEMS_PER_LEAF * rng.random(events) ** 3).astype(np.int64)
    kind = rng.choice(len(TYPES), events, p=ODDS)
    return (
        pl.DataFrame(
            {
                "user_id": pl.Series(f"u{seed}-" + pl.Series(user).cast(pl.String)),
                "session_id": pl.Series(user * VISITS + visit).cast(pl.String),
                "event_time": (seconds * 1e6).astype(np.int64),
                "event_type": TYPES[kind],
                "is_click": kind == 0,
                "item": "g" + pl.Series(item).cast(pl.String),
                "leaf": "Leaf " + pl.Series(leaf).cast(pl.String),
                "advertiser": "a" + pl.Series(item % 300).cast(pl.String),
                "context_channel": "c" + pl.Series((user * VISITS + visit) % CHANNELS).cast(pl.String),
            }
        )
        .sort("user_id", "event_time", maintain_order=True)
        .to_arrow()
    )


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def in_turns(programs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Fastest of TURNS turns of each program, CPU seconds."""
    turns = [{name: cpu(program) for name, program in programs.items()} for _ in range(TURNS)]
    return {name: min(turn[name] for turn in turns) for name in programs}


def partitions(events: int) -> Iterator[pa.Table]:
    for seed, begin in enumerate(range(0, events, PARTITION_EVENTS)):
        yield session_rows(min(PARTITION_EVENTS, events - begin), seed)


def label_building(logs: list[Timeline], table: SimilarityTable) -> dict[str, float]:
    """CPU seconds of labels with last_click alone and with the five rule-based views."""
    observed = Observed("UTC", GAP, END, END)

    def labels(views: tuple[str, ...]) -> Callable[[], None]:
        settings = AttributionSettings(views=views)

        def run() -> None:
            for events in logs:
                labelled = label_partition(events, table, LabelSettings(), observed, settings)
                credit_columns(events, labelled.clicks, table, settings)

        return run

    return in_turns({"last_click alone": labels(RULES[:1]), "five views": labels(RULES)})


def models(logs: list[Timeline], table: SimilarityTable) -> None:
    """Prints the cost of every method, fit and inference apart."""
    settings = AttributionSettings()
    journeys = concat([training_journeys(each, table, settings, "channel", GAP, END) for each in logs])
    bought = []
    for events in logs:
        clicks = find_clicks(events)
        paths = purchase_paths(events, clicks, table, settings)
        bought.append(journeys_of(events, clicks, paths, table, "channel"))
    paths = concat(bought)
    print(
        f"fit on {len(journeys):,} journeys ({len(journeys.channel):,} touches), "
        f"credit to {len(paths):,} purchases ({len(paths.channel):,} touches)"
    )
    for method in ("attention", "shapley", "shao_li", "markov"):
        fitted = []
        fit = cpu(lambda m=method, f=fitted: f.append(fit_mta(journeys, MtaSettings(method=m))))
        infer = cpu(lambda f=fitted: f[0].effects(paths))
        print(
            f"  {method:>9}: fit {fit:6.1f} CPU-s   inference {infer:6.1f} CPU-s, "
            f"{len(paths.channel) / max(infer, 1e-9):11,.0f} touches/CPU-s"
        )


def made_up_journeys(n: int, seed: int = 0) -> Journeys:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 8, n)
    q = int(size.sum())
    zeros = np.zeros(q, np.float32)
    return Journeys(
        size=size,
        converted=rng.random(n) < 0.1,
        weight=np.ones(n),
        user_group=rng.integers(0, 1024, n),
        channel=rng.integers(0, CHANNELS, q),
        channels=tuple(f"c{k}" for k in range(CHANNELS)),
        seller=np.zeros(q, np.int64),
        sellers=("",),
        gap_h=zeros,
        late=zeros,
        relation=zeros,
        same=zeros,
    )


def against_packages(n: int) -> None:
    """Prints the CPU seconds of ours and theirs, from journeys in memory to credit by channel."""
    import mta
    import pandas as pd
    from mam.models.markov import MarkovModel

    journeys = made_up_journeys(n)
    names = np.array(journeys.channels)[journeys.channel]
    lists = [path.tolist() for path in np.split(names, journeys.start[1:])]
    frame = pd.DataFrame(
        {
            "path": [" > ".join(path) for path in lists],
            "total_conversions": journeys.converted.astype(int),
            "total_null": (~journeys.converted).astype(int),
        }
    )
    table = pl.DataFrame(
        {
            "journey_id": np.arange(n),
            "channels": lists,
            "has_conversion": journeys.converted,
            "weight": np.ones(n),
            "conversion_value": journeys.converted.astype(float),
        }
    )
    found = {}

    def by_channel(weight: np.ndarray) -> np.ndarray:
        return np.bincount(journeys.channel, weight * journeys.converted[journeys.journey], CHANNELS)

    def our_shao_li() -> None:
        found["shao_li"] = by_channel(shao_li(count_channels(journeys), journeys))

    def their_shao_li() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            model = mta.MTA(frame, allow_loops=True, add_timepoints=False).shao(normalize=False)
        found["mta"] = np.array([model.attribution["shao"][name] for name in journeys.channels])

    def our_markov() -> None:
        weight = markov(count_channels(journeys), journeys)
        share = weight / np.add.reduceat(weight, journeys.start)[journeys.journey]
        found["markov"] = by_channel(share)

    def their_markov() -> None:
        theirs = dict(MarkovModel().get_aggregated_results(table).iter_rows())
        found["mam"] = np.array([theirs[name] for name in journeys.channels])

    for ours, theirs, programs in (
        ("shao_li", "mta", (our_shao_li, their_shao_li)),
        ("markov", "mam", (our_markov, their_markov)),
    ):
        seconds = in_turns(dict(zip((ours, theirs), programs, strict=True)))
        np.testing.assert_allclose(found[ours], found[theirs], rtol=1e-9)
        print(
            f"  {ours:>9}: {seconds[ours]:.3f} CPU-s, {theirs} {seconds[theirs]:.3f} CPU-s: "
            f"{seconds[theirs] / seconds[ours]:.0f} times its speed, the same credits"
        )


def main() -> None:
    """Prints the three comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=lambda text: int(text.replace("_", "")), default=5_000_000)
    parser.add_argument("--journeys", type=int, default=50_000, help="of the comparison with packages")
    options = parser.parse_args()
    logs, sums = [], []
    for rows in partitions(options.events):
        sums.append(CoEngagement.of(pl.from_arrow(rows), SimilaritySettings()))
        logs.append(timeline(rows, None, "UTC"))
    table = TaxonomyCF().table({"leaf": CoEngagement.merge(sums)}, SimilaritySettings())
    purchases = sum(int(events.of_type("purchase").sum()) for events in logs)
    clicks = sum(int(events.is_click.sum()) for events in logs)
    print(f"{options.events:,} events, {clicks:,} clicks, {purchases:,} purchases")
    seconds = label_building(logs, table)
    for name, value in seconds.items():
        print(f"  {name:>16}: {value:6.2f} CPU-s  {options.events / value:11,.0f} events/CPU-s")
    ratio = seconds["five views"] / seconds["last_click alone"]
    print(f"  five views take {ratio:.2f} of last_click alone (goal: at most {GOAL})")
    models(logs, table)
    print(f"{options.journeys:,} made-up journeys, {CHANNELS} channels")
    against_packages(options.journeys)


if __name__ == "__main__":
    main()
