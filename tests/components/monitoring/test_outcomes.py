"""Clicks find their scores, and days are judged as the reference says."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from components.anomaly_gate.anomalies import Distance
from components.monitoring.outcomes import clicks_with_outcomes, judged, with_scores
from components.monitoring.page import render
from components.session_example_gen.checked_logs import read_logs
from components.session_example_gen.sessions import to_sessions
from components.similarity_transform.labels import Hours, LabelSettings
from models import features as names
from models.metrics import sums
from schemas.events import LogSource

NOON = 1_709_294_400  # 2024-03-01 12:00 UTC
OUTPUTS = tuple(names.LABEL_OF_OUTPUT)


def sessions(tmp_path, rows):
    """Session rows of (user, second, event type, product) in one session a user."""
    columns = ["user_id", "at", "event_type", "product_id"]
    frame = pl.DataFrame(rows, columns, orient="row").with_columns(
        session_id=pl.col("user_id"), event_time=pl.from_epoch(pl.col("at") + NOON)
    )
    frame.drop("at").write_parquet(tmp_path / "e.parquet")
    source = LogSource(events=[str(tmp_path / "e.parquet")])
    catalog = pl.DataFrame(schema={n: pl.String for n in ("product_id", "leaf", "item_group_id", "brand")})
    catalog = catalog.with_columns(advertiser=pl.lit(None, pl.String), price=pl.lit(None, pl.Float32))
    return to_sessions(read_logs(source).events, catalog, source, ">"), source


ROWS = [
    ("a", 0, "click", "x"),
    ("a", 60, "click", "y"),
    ("a", 90, "purchase", "y"),
    ("b", 10, "click", "x"),
    ("c", 9000, "click", "x"),  # its session may still go on
]


def test_outcomes_of_clicks_whose_window_is_over(tmp_path):
    found = clicks_with_outcomes(*sessions(tmp_path, ROWS), LabelSettings())
    assert found.select("user_id", "item", names.Y_CABA, names.Y_CABB, names.Y_ANY).rows() == [
        ("a", "x", 0.0, 1.0, 1.0),
        ("a", "y", 1.0, 0.0, 1.0),
        ("b", "x", 0.0, 0.0, 0.0),
    ]
    assert set(found["day"]) == {date(2024, 3, 1)}
    hours = clicks_with_outcomes(*sessions(tmp_path, ROWS), LabelSettings(window=Hours(hours=2.499)))
    assert hours.height == 1, "windows that end after the last event are not over"


def test_a_click_has_the_last_score_before_it(tmp_path):
    clicks = clicks_with_outcomes(*sessions(tmp_path, ROWS), LabelSettings())
    scored = pl.DataFrame(
        {
            "user_id": ["a", "a", "a", "b", None],
            "item": ["x", "x", "x", "x", "x"],
            names.EVENT_TIME: [(NOON + s) * 1_000_000 for s in (-20, -10, 5, -4000, 0)],
            **{output: [0.1, 0.2, 0.3, 0.4, 0.5] for output in OUTPUTS},
        }
    )
    found = with_scores(clicks, scored, timedelta(minutes=30))
    assert found.select("user_id", "item", "p_caba").rows() == [("a", "x", 0.2)]


def test_days_are_judged_as_the_reference_says():
    rng = np.random.default_rng(0)
    n = 400
    p = rng.uniform(0.05, 0.6, n)
    y = (rng.random(n) < p).astype(float)
    clicks = pl.DataFrame(
        {
            "day": [date(2024, 3, 1 + i % 2) for i in range(n)],
            **{label: y for label in names.LABEL_OF_OUTPUT.values()},
            **{output: p for output in OUTPUTS},
        }
    )
    found = judged(clicks, names.LABEL_OF_OUTPUT)
    assert [each["day"] for each in found[::3]] == [None, date(2024, 3, 1), date(2024, 3, 2)]
    whole, first = found[0], found[3]
    assert whole["ne"] == pytest.approx(sums.normalized_entropy(sums.binary_sums(y, p)))
    assert first["calibration"] == pytest.approx(p[::2].sum() / y[::2].sum()) and first["clicks"] == 200
    assert judged(clicks, {"p_caba": "credit_linear"}) == []


def test_the_page_stands_alone_and_escapes():
    distances = [
        Distance("v", "item", "infinity norm", 0.4, 0.15, "<b>x</b>"),
        Distance("v", "p", "q", 0.1, 0.2),
    ]
    day = {"clicks": 10, "base_rate": 0.1, "ne": 0.9, "calibration": float("nan"), "output": "p_caba"}
    outcomes = [{**day, "day": None}, *({**day, "day": date(2024, 3, d)} for d in (1, 2, 3))]
    html = render("version 3", 1234, distances, outcomes)
    assert "1 of 2 distances" in html and "&lt;b&gt;x" in html and "<b>x" not in html
    assert "http" not in html.replace("http://www.w3.org", "") and "2024-03-02" in html
    assert "<svg" in html
    one_day = render("version 3", 1, [], outcomes[:2])
    assert "2024-03-01" in one_day and "<svg" not in one_day and "training" not in one_day.split("Scores")[1]
    assert "No outcomes are known" in render("version 3", 1, [], [])
