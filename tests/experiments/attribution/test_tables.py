"""The tables of credited touches, against sums written by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from components.similarity_transform.attribution_views import AttributionSettings
from experiments.attribution.credited import POSITIONS, Credited
from experiments.attribution.page import render_attribution
from experiments.attribution.tables import OTHERS, compose, credit_by, positives, uplift_agreement

VIEWS = ("last_click", "linear")


@pytest.fixture(scope="module")
def credited() -> Credited:
    rng = np.random.default_rng(4)
    size = rng.integers(1, 6, 300)
    path = np.repeat(np.arange(300), size)
    last = np.append(path[1:] != path[:-1], True)
    first = np.append(True, path[1:] != path[:-1])
    position = np.select([first & last, first, last], POSITIONS[:2] + POSITIONS[3:], POSITIONS[2])
    touches = pl.DataFrame(
        {
            "path": path,
            "click": np.arange(len(path)),
            "user_group": (path // 2) % 1024,
            "position": position.astype(str),
            "channel": rng.choice([f"<channel {k}>" for k in range(20)], len(path)),
            "last_click": last.astype(float),
            "linear": 1 / size[path],
            "uplift": rng.random(len(path)) + 3 * last,
        }
    )
    clicks = pl.DataFrame({"user_group": rng.integers(0, 1024, 900)}).with_columns(
        last_click=pl.Series((rng.random(900) < 0.1).astype(np.float32)),
        linear=pl.Series((rng.random(900) < 0.2) * np.float32(0.5)),
    )
    return Credited(VIEWS, ("position", "channel"), touches, clicks, "a <store>")


def test_positives_are_clicks_with_credit(credited):
    last, linear = positives(credited, "last_click")
    expected = [int((credited.clicks[view] > 0).sum()) for view in VIEWS]
    assert [last["positives"], linear["positives"]] == expected
    assert linear["share"] == expected[1] / 900 and linear["mean_credit"] == pytest.approx(0.5)
    ratio = linear["ratio"]
    assert ratio["value"] == pytest.approx(expected[1] / expected[0])
    assert ratio["low"] < ratio["value"] < ratio["high"]
    assert last["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_shares_of_a_dimension_sum_to_one_and_the_smallest_values_are_put_together(credited):
    for dimension in credited.dimensions:
        rows = credit_by(credited, dimension)
        for view in VIEWS:
            assert sum(row["shares"][view]["value"] for row in rows) == pytest.approx(1)
    rows = credit_by(credited, "channel")
    assert rows[-1]["value"] == OTHERS and len(rows) == 12
    top = credited.touches.filter(pl.col("channel") == rows[0]["value"])
    assert rows[0]["touches"] == len(top)
    assert rows[0]["shares"]["linear"]["value"] == pytest.approx(top["linear"].sum() / 300)
    by_position = {row["value"]: row for row in credit_by(credited, "position")}
    assert by_position["first"]["shares"]["last_click"]["value"] == 0


def test_agreement_is_spearmans_rho(credited):
    last, linear = uplift_agreement(credited)
    several = credited.touches.filter(pl.len().over("path") > 1)
    assert last["pooled"]["value"] == pytest.approx(
        spearmanr(several["last_click"], several["uplift"]).statistic
    )
    rho = [spearmanr(path["last_click"], path["uplift"]).statistic for path in several.partition_by("path")]
    assert last["paths"] == len(rho)
    assert last["within"]["value"] == pytest.approx(np.mean(rho))
    assert last["within"]["low"] < np.mean(rho) < last["within"]["high"]
    assert linear["within"]["value"] == 0


def test_the_page_loads_nothing_and_escapes_what_the_data_say(credited):
    page = render_attribution(compose(credited, AttributionSettings(views=VIEWS)))
    assert page == render_attribution(compose(credited, AttributionSettings(views=VIEWS)))
    assert "a &lt;store&gt;" in page and "<store>" not in page and "<channel" not in page
    assert "http" not in page and "<script" not in page
