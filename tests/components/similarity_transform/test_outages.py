"""Hours without logged purchases: found where they cannot be chance, and their clicks left out."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from components.category_similarity.co_engagement import CoEngagement
from components.category_similarity.learning import similarity_table
from components.category_similarity.settings import SimilaritySettings
from components.similarity_transform.click_examples import Observed, label_partition
from components.similarity_transform.labels import Hours, LabelSettings
from components.similarity_transform.outages import EXPECTED, find_outages
from components.similarity_transform.timeline import timeline

from .event_streams import BOUNDARY, END, GAP, START, TIME_ZONE, random_events, split_tables

HOUR = 3_600_000_000
CLICKS_AN_HOUR = 40
BUYERS_SHARE = 0.1


def store(path, hours: int, silent: range = range(0), seed: int = 0):
    """A file of sessions with a click each, evenly by day and few at night; a tenth of them buy, twice."""
    rng = np.random.default_rng(seed)
    rows = []
    for hour in range(hours):
        for k in range(rng.poisson(CLICKS_AN_HOUR if hour % 24 < 16 else 2)):
            at = START + hour * HOUR + int(rng.integers(HOUR))
            buys = rng.random() < BUYERS_SHARE and hour not in silent
            rows += [(f"u{hour}-{k}", at, "click", True)] + [
                (f"u{hour}-{k}", at, "purchase", False)
            ] * 2 * buys
    pl.DataFrame(rows, ("user_id", "event_time", "event_type", "is_click"), orient="row").with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC")), session_id=pl.lit("s")
    ).write_parquet(path)
    return path


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_outage_is_found_and_nothing_else(tmp_path, seed):
    silent = range(100, 116)
    train = store(tmp_path / "train.parquet", 24 * 8, silent, seed)
    ((start, end),) = find_outages([train], [tmp_path / "absent.parquet"])
    # A quiet night beside the outage belongs to it as well.
    assert start <= START + silent.start * HOUR and end >= START + silent.stop * HOUR
    assert end - start <= 24 * HOUR
    inside = pl.read_parquet(train).filter(pl.col("event_time").dt.epoch("us").is_between(start, end, "left"))
    assert not inside.filter(event_type="purchase").height


@pytest.mark.parametrize("seed", range(3))
def test_chance_is_no_outage(tmp_path, seed):
    hours = 2 * EXPECTED / (CLICKS_AN_HOUR * BUYERS_SHARE)
    few = range(100, 100 + int(hours / 4))
    train = store(tmp_path / "train.parquet", 24 * 8, few, seed)
    assert find_outages([train], []) == ()


def test_a_log_without_clicks_or_purchases_has_none(tmp_path):
    assert find_outages([tmp_path / "absent.parquet"], []) == ()
    assert find_outages([store(tmp_path / "none.parquet", 48, range(48))], []) == ()


def test_evaluation_days_are_searched_but_teach_no_rate(tmp_path):
    train, silent = store(tmp_path / "train.parquet", 24 * 4), store(tmp_path / "e.parquet", 24, range(24))
    later = pl.read_parquet(silent).with_columns(pl.col("event_time") + pl.duration(days=4))
    later.write_parquet(tmp_path / "eval.parquet")
    assert len(find_outages([train], [tmp_path / "eval.parquet"])) == 1
    assert find_outages([tmp_path / "eval.parquet"], [train]) == ()


@pytest.mark.parametrize("window", ["session", Hours(hours=5)])
@pytest.mark.parametrize("seed", range(8))
def test_examples_that_meet_an_outage_are_left_out_and_no_others(seed, window):
    outage = (START + 30 * HOUR, START + 60 * HOUR)
    rows = random_events(seed)
    events = timeline(*split_tables(rows), TIME_ZONE)
    observed = Observed(TIME_ZONE, GAP, BOUNDARY, END)
    broken = dataclasses.replace(observed, outages=(outage,))

    sums = CoEngagement.of(pl.from_arrow(split_tables(rows)[0]), SimilaritySettings())
    alike = similarity_table({"leaf": sums}, SimilaritySettings())

    def labelled(observed, **settings):
        return label_partition(events, alike, LabelSettings(window=window, **settings), observed)

    whole, kept, left = labelled(observed), labelled(broken, outages="keep"), labelled(broken)
    for split in ("train", "eval"):
        np.testing.assert_array_equal(kept.rows[split].example, whole.rows[split].example)
        known = []
        for example in whole.rows[split].example.tolist():
            anchor = rows[whole.clicks.anchor[example]]
            ends = [
                row["event_time"]
                for row in rows
                if (row["user_id"], row["session_id"]) == (anchor["user_id"], anchor["session_id"])
            ]
            last = max(ends) if window == "session" else anchor["event_time"] + 5 * HOUR
            if last < outage[0] or anchor["event_time"] >= outage[1]:
                known.append(example)
        assert left.rows[split].example.tolist() == known
        assert left.in_outage[split] == len(whole.rows[split].example) - len(known)
        assert left.immature[split] == whole.immature[split]
