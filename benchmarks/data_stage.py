"""Sessions, similarity, labels and features of N events: the Beam stages against one plain polars program.

    python -m benchmarks.data_stage --events 1_000_000

Both read the same time-ordered log, do the same work and write the same tf.Examples; each runs in a process
of its own, which measures its CPU time and peak memory (imports included). The plain program holds the whole
log in memory and does each step once, over all rows. Goal: at least 0.7 of its speed and at most half its
memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from models import features

GOAL_SPEED, GOAL_MEMORY = 0.7, 0.5
EVENTS_PER_USER, ITEMS_PER_LEAF, DAYS, EVAL_DAYS = 20, 33, 60, 7
START = date(2024, 1, 1)
EVAL_START = date.fromordinal(START.toordinal() + DAYS - EVAL_DAYS)
GAP_MINUTES = 30
TYPES = ("click", "detail_view", "add_to_cart", "checkout", "purchase")
ODDS = (0.62, 0.18, 0.11, 0.04, 0.05)


def generate(events: int, leaves: int, home: Path, seed: int = 0) -> None:
    """A log of shoppers with a favourite leaf each, skewed popularity, by time in files of 1M rows."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    users, items = max(events // EVENTS_PER_USER, 1), leaves * ITEMS_PER_LEAF
    user = rng.integers(0, users, events)
    favourite = (leaves * rng.random(users) ** 2).astype(np.int64)
    visit = rng.integers(0, 4, events)
    begins = rng.random((users, 4)) * (DAYS * 86400 - 3600)
    time = begins[user, visit] + rng.random(events) * 1800
    leaf = np.where(
        rng.random(events) < 0.7, favourite[user], (leaves * rng.random(events) ** 2).astype(np.int64)
    )
    item = leaf * ITEMS_PER_LEAF + (ITEMS_PER_LEAF * rng.random(events) ** 3).astype(np.int64)
    kind = rng.choice(len(TYPES), events, p=ODDS)
    order = np.argsort(time)
    origin = int(np.datetime64(START, "us").astype(np.int64))
    (home / "events").mkdir(parents=True)
    for part, start in enumerate(range(0, events, 1_000_000)):
        at = order[start : start + 1_000_000]
        pl.DataFrame(
            {
                "user_id": pl.Series(user[at]).cast(pl.String),
                "session_id": pl.Series(user[at] * 4 + visit[at]).cast(pl.String),
                "event_time": pl.Series(origin + (time[at] * 1e6).astype(np.int64)).cast(
                    pl.Datetime("us", "UTC")
                ),
                "event_type": pl.Series(np.array(TYPES)[kind[at]]),
                "product_id": "p" + pl.Series(item[at]).cast(pl.String),
                "list_position": pl.Series(rng.integers(0, 50, len(at)), dtype=pl.Int32),
                "device": pl.Series(np.array(["mobile", "desktop", "tablet"])[user[at] % 3]),
            }
        ).write_parquet(home / "events" / f"{part:04d}.parquet", row_group_size=250_000)
    product = np.arange(items)
    names = [f"Department {k % 20} > Aisle {k % 200} > Leaf {k}" for k in range(leaves)]
    pl.DataFrame(
        {
            "product_id": "p" + pl.Series(product).cast(pl.String),
            "item_group_id": "g" + pl.Series(product).cast(pl.String),
            "category_path": pl.Series(names).gather(product // ITEMS_PER_LEAF),
            "brand": "b" + pl.Series(product % 500).cast(pl.String),
            "advertiser": "a" + pl.Series(product % 300).cast(pl.String),
            "price": pl.Series(rng.lognormal(3, 1, items).round(2)),
        }
    ).write_parquet(home / "catalog.parquet")


def run_beam(
    data: Path, out: Path, partitions: int, arguments: Sequence[str] = ("--runner=FnApiRunner",)
) -> dict:
    """The product's own stages, with Beam's command line."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.category_similarity.settings import SimilaritySettings
    from components.category_similarity.similarity_beam import build_similarity
    from components.session_example_gen.catalog import read_catalog
    from components.session_example_gen.sessions_beam import build_sessions
    from components.session_example_gen.splits import SplitWindows
    from components.similarity_transform.click_examples_beam import build_click_examples, observed_until
    from components.similarity_transform.labels import LabelSettings
    from components.similarity_transform.leaf_prices import mean_leaf_prices
    from schemas.events import LogSource

    def make_pipeline() -> beam.Pipeline:
        return beam.Pipeline(options=PipelineOptions(list(arguments)))

    phases = Phases()
    source = LogSource(
        events=[str(data / "events/*.parquet")],
        catalog=str(data / "catalog.parquet"),
        context_columns=["device"],
    )
    build_sessions(
        source, SplitWindows(eval_start=EVAL_START), str(out / "sessions"), partitions, make_pipeline
    )
    phases.end("sessions")
    build_similarity(out / "sessions", out / "similarity", SimilaritySettings(shrinkage=0), make_pipeline)
    phases.end("similarity")
    observed = observed_until(out / "sessions", source.time_zone, GAP_MINUTES, EVAL_START)
    prices = mean_leaf_prices(read_catalog(source))
    counts = build_click_examples(
        out / "sessions",
        out / "similarity",
        out / "examples",
        LabelSettings(),
        observed,
        make_pipeline,
        prices,
    )
    phases.end("examples")
    return {"phases": phases.seconds, "counts": counts}


def run_polars(data: Path, out: Path, partitions: int) -> dict:
    """The same as one program over one frame."""
    import polars as pl

    from benchmarks.plain_polars import click_examples, sessions_of, similarity_of, write

    phases = Phases()
    events = sessions_of(data)
    phases.end("sessions")
    similarity = similarity_of(events.filter(pl.col("split") == "train"))
    phases.end("similarity")
    examples = click_examples(events, similarity, data)
    counts = {
        split: {
            "rows": mine.height,
            **{name: int(mine[name].sum()) for name in features.LABELS},
        }
        for split in ("train", "eval")
        if (mine := examples.filter(pl.col("split") == split)) is not None
    }
    phases.end("features")
    del events
    write(examples, out)
    phases.end("writing")
    return {"phases": phases.seconds, "counts": counts}


class Phases:
    """CPU seconds by phase; the first includes imports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def end(self, name: str) -> None:
        """Books what was used since the last call."""
        used = _usage()["cpu_s"]
        self.seconds[name] = round(used - self._last, 1)
        self._last = used


def _usage() -> dict[str, float]:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        "peak_mb": max(own.ru_maxrss, children.ru_maxrss) / 1024,
    }


def main() -> None:
    """Generates the log, runs both programs and prints what they used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=lambda text: int(text.replace("_", "")), default=10_000_000)
    parser.add_argument("--leaves", type=int, default=3000)
    parser.add_argument("--partitions", type=int, help="default: 16 per 10 million events")
    parser.add_argument("--keep", type=Path, help="folder to work in and leave behind")
    parser.add_argument("--only", choices=["beam", "polars", "generate"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    partitions = options.partitions or max(1, round(16 * options.events / 10_000_000))
    if options.only:
        home = options.keep
        if options.only == "generate":
            generate(options.events, options.leaves, home / "log")
            return
        run = run_beam if options.only == "beam" else run_polars
        result = run(home / "log", home / options.only, partitions)
        print(json.dumps({**result, **_usage()}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        home = options.keep or Path(scratch)

        def measured(which: str) -> str:
            return subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.data_stage", "--only", which, "--keep", str(home)),
                    *("--events", str(options.events), "--leaves", str(options.leaves)),
                    *("--partitions", str(partitions)),
                ],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout

        measured("generate")
        results = {which: json.loads(measured(which).splitlines()[-1]) for which in ("polars", "beam")}
    for which, result in results.items():
        print(
            f"{which:>6}: {result['cpu_s']:7.1f} CPU-s  {options.events / result['cpu_s']:9,.0f} "
            f"events/CPU-s  {result['peak_mb']:7,.0f} MB peak  {result['phases']}"
        )
    plain, ours = results["polars"], results["beam"]
    for split, counts in plain["counts"].items():
        for name, value in counts.items():
            if ours["counts"][split][name] != value:
                sys.exit(f"{split} {name} differ: plain {value:,}, Beam {ours['counts'][split][name]:,}")
    print(f"speed  {plain['cpu_s'] / ours['cpu_s']:.2f} of plain polars (goal: at least {GOAL_SPEED})")
    print(f"memory {ours['peak_mb'] / plain['peak_mb']:.2f} of plain polars (goal: at most {GOAL_MEMORY})")


if __name__ == "__main__":
    main()
