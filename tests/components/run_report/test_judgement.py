"""The report's numbers against plain references on synthetic scores."""

from dataclasses import replace

import numpy as np
import pytest

from components.run_report.judgement import ReportSettings, judge_heads, judge_slices
from models import features
from models.metrics import sums
from tests.components.run_report.made_up_run import only, scored_clicks, without_conversions

SETTINGS = ReportSettings(resamples=200)


def reference_ne(y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> float:
    """He et al. 2014, eq. 1, row by row."""
    y, p = y.astype(float), p.astype(float)
    w = np.ones_like(y) if w is None else w.astype(float)
    rate = (w * y).sum() / w.sum()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return (w * -(y * np.log(p) + (1 - y) * np.log(1 - p))).sum() / w.sum() / entropy


def reference_auc(y: np.ndarray, p: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order; ties count one half."""
    positive, negative = p[y > 0][:, None], p[y == 0][None, :]
    return ((positive > negative).mean() + (positive == negative).mean() / 2).item()


def test_every_metric_equals_its_reference() -> None:
    clicks = scored_clicks()
    for head in judge_heads(clicks, SETTINGS):
        y = clicks.labels[head["label"]]
        for role in ("candidate", "baseline"):
            p = getattr(clicks, role)[head["output"]]
            scores = head[role]
            assert scores["ne"] == pytest.approx(reference_ne(y, p), rel=1e-6)
            assert scores["auc"] == pytest.approx(reference_auc(y, p), rel=1e-9)
            assert scores["calibration"] == pytest.approx(p.astype(float).sum() / y.sum(), rel=1e-6)
            assert scores["ne_interval"][0] < scores["ne"] < scores["ne_interval"][1]
        assert head["positives"] == y.sum()
        assert head["base_rate"] == pytest.approx(y.mean())


def test_gauc_counts_only_users_with_both_outcomes() -> None:
    clicks = scored_clicks()
    y, p = clicks.labels[features.Y_ANY], clicks.candidate[features.P_CONVERSION]
    won, covered = 0.0, 0
    for user in np.unique(clicks.user):
        inside = clicks.user == user
        if 0 < y[inside].sum() < inside.sum():
            won += inside.sum() * reference_auc(y[inside], p[inside])
            covered += inside.sum()
    scores = judge_heads(clicks, SETTINGS)[0]["candidate"]
    assert scores["gauc"] == pytest.approx(won / covered)
    assert scores["gauc_coverage"] == pytest.approx(covered / len(clicks))


def test_paired_change_agrees_with_the_gate_and_finds_the_better_model() -> None:
    clicks = scored_clicks(3000)
    head = judge_heads(clicks, ReportSettings())[0]
    y, group = clicks.labels[features.Y_ANY], sums.user_group(clicks.user)
    new, old = (role[features.P_CONVERSION] for role in (clicks.candidate, clicks.baseline))
    gate = sums.ne_change_interval(sums.paired_sums(group, y, new, old))
    assert head["change"]["ne"] == pytest.approx(reference_ne(y, new) - reference_ne(y, old), rel=1e-5)
    assert head["change"]["relative"] == pytest.approx(
        reference_ne(y, new) / reference_ne(y, old) - 1, rel=1e-5
    )
    assert gate.upper < 0
    assert head["change"]["words"] == "better"
    assert head["change"]["interval"][1] < 0
    reference = head["baseline"]["ne"]
    assert head["change"]["interval"] == pytest.approx([b / reference for b in gate], rel=0.1)


def test_a_model_against_itself_is_a_tie() -> None:
    clicks = scored_clicks()
    twin = type(clicks)(**{**vars(clicks), "baseline": clicks.candidate})
    for head in judge_heads(twin, SETTINGS):
        assert head["change"]["words"] == "tie"
        assert head["change"]["relative"] == 0


def test_alpha_weighted_ne_stands_beside_the_plain_one() -> None:
    clicks = scored_clicks()
    heads = {head["output"]: head for head in judge_heads(clicks, SETTINGS)}
    y, p = clicks.labels[features.Y_CABB], clicks.candidate[features.P_CABB]
    weighted = heads[features.P_CABB]["alpha_weighted"]
    assert weighted["candidate"]["ne"] == pytest.approx(reference_ne(y, p, clicks.alpha), rel=1e-5)
    assert weighted["base_rate"] == pytest.approx((clicks.alpha * y).sum() / clicks.alpha.sum(), rel=1e-5)
    assert heads[features.P_CONVERSION]["alpha_weighted"] is None


def test_calibration_bins_hold_every_click_once_and_ties_stay_together() -> None:
    clicks = scored_clicks()
    bins = judge_heads(clicks, SETTINGS)[0]["calibration_bins"]
    assert sum(b["clicks"] for b in bins) == len(clicks)
    assert sum(b["positives"] for b in bins) == clicks.labels[features.Y_ANY].sum()
    assert max(b["clicks"] for b in bins) - min(b["clicks"] for b in bins) <= 1
    assert [b["predicted"] for b in bins] == sorted(b["predicted"] for b in bins)
    constant = {output: np.full(len(clicks), 0.2, np.float32) for output in clicks.candidate}
    flat = type(clicks)(**{**vars(clicks), "candidate": constant})
    (one,) = judge_heads(flat, SETTINGS)[0]["calibration_bins"]
    assert one["clicks"] == len(clicks)
    assert one["low"] <= one["observed"] <= one["high"]


def test_slices_are_judged_like_the_whole() -> None:
    clicks = scored_clicks()
    by_leaf, by_activity = judge_slices(clicks, SETTINGS)
    assert [row["clicks"] for row in by_leaf["rows"]] == sorted(
        (r["clicks"] for r in by_leaf["rows"]), reverse=True
    )
    for row in by_leaf["rows"]:
        inside = clicks.slices[features.LEAF] == row["value"]
        y, p = clicks.labels[features.Y_ANY][inside], clicks.candidate[features.P_CONVERSION][inside]
        assert row["clicks"] == inside.sum()
        assert row["ne"] == pytest.approx(reference_ne(y, p), rel=1e-6)
        assert row["words"] == judge_heads(only(clicks, inside), SETTINGS)[0]["change"]["words"]
    assert [row["value"] for row in by_activity["rows"]] == list(features.USER_ACTIVITY_LEVELS)


def test_a_long_tail_of_slices_is_cut_and_counted() -> None:
    by_leaf, _ = judge_slices(scored_clicks(), ReportSettings(resamples=100, slice_rows=3))
    assert len(by_leaf["rows"]) == 3
    assert by_leaf["left_out"] == 1


def test_undefined_metrics_have_a_reason() -> None:
    clicks = scored_clicks()
    for head in judge_heads(without_conversions(clicks), SETTINGS):
        assert head["candidate"]["ne"] is None
        assert set(head["candidate"]["undefined"].values()) == {"no click has this outcome"}
        assert head["change"]["words"] == "not defined"
    broken = {
        output: np.where(np.arange(len(clicks)) == 3, np.nan, p) for output, p in clicks.candidate.items()
    }
    head = judge_heads(type(clicks)(**{**vars(clicks), "candidate": broken}), SETTINGS)[0]
    assert head["candidate"]["undefined"]["ne"] == "a model's score is not a number on 1 click"
    assert head["baseline"]["ne"] is not None
    assert head["calibration_bins"] == []
    nobody = only(clicks, np.zeros(len(clicks), bool))
    head = judge_heads(nobody, SETTINGS)[0]
    assert head["rows"] == 0
    assert head["candidate"]["undefined"]["ne"] == "there are no evaluation clicks"
    assert all(part["rows"] == [] for part in judge_slices(nobody, SETTINGS))


def test_the_order_of_clicks_is_a_score_of_its_own() -> None:
    clicks = scored_clicks()
    head = judge_heads(clicks, SETTINGS)[0]
    order = sums.gauc(clicks.user, clicks.labels[features.Y_ANY], clicks.event_time_us)
    assert head["click_order_gauc"] == pytest.approx(order.gauc)


def test_credit_is_ranked_as_a_weighted_positive_and_named_in_the_title() -> None:
    clicks = scored_clicks()
    credit = clicks.labels[features.Y_ANY] * np.where(np.arange(len(clicks)) % 2, 1.0, 0.25)
    judged = replace(
        clicks,
        label_of_output={output: "credit_mta" for output in features.LABEL_OF_OUTPUT},
        labels={"credit_mta": credit},
    )
    head = judge_heads(judged, SETTINGS)[0]
    positive, weight = sums.weighted_binary(credit)
    p = clicks.candidate[features.P_CONVERSION]
    assert head["title"] == "Any conversion (credit_mta)"
    assert head["candidate"]["auc"] == pytest.approx(sums.auc(positive, p, weight))
    assert head["positives"] == positive.sum() and head["base_rate"] == pytest.approx(credit.mean())
