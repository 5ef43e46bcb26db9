"""A made-up run for the report's tests: scored clicks and what the other components leave behind."""

from dataclasses import replace

import numpy as np

from components.category_similarity.similarity import SimilarityTable
from components.evaluator.verdict import Check, Verdict
from components.run_report.judgement import SLICES, ScoredClicks
from components.run_report.results import Baseline, Push, RunRecord
from models import features

HOSTILE = "Home > <script>alert('leaf')</script>"
LEAVES = ["Garden > Tools > Rakes", HOSTILE, "Home > Kitchen > Kettles", "Home > Kitchen > Mugs"]


def scored_clicks(rows: int = 900, seed: int = 0) -> ScoredClicks:
    """Clicks whose labels follow a hidden rate that both models know, the baseline less well."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(-1.5, 1.3, rows)
    y_any = rng.random(rows) < 1 / (1 + np.exp(-hidden))
    y_caba = y_any & (rng.random(rows) < 0.6)
    y_cabb = y_any & (~y_caba | (rng.random(rows) < 0.5))

    def predictions(noise: float) -> dict[str, np.ndarray]:
        shift = {features.P_CONVERSION: 0.0, features.P_CABA: -0.6, features.P_CABB: -0.3}
        return {
            output: (1 / (1 + np.exp(-hidden - by - rng.normal(0, noise, rows)))).astype(np.float32)
            for output, by in shift.items()
        }

    return ScoredClicks(
        user=np.array([f"user {i}" for i in rng.integers(0, rows // 3, rows)], dtype="S"),
        event_time_us=1_475_300_000_000_000 + rng.integers(0, 5 * 86_400_000_000, rows),
        label_of_output=features.LABEL_OF_OUTPUT,
        labels={
            features.Y_CABA: y_caba.astype(np.float32),
            features.Y_CABB: y_cabb.astype(np.float32),
            features.Y_ANY: y_any.astype(np.float32),
        },
        alpha=np.where(y_cabb, rng.random(rows), 0.4).astype(np.float32),
        slices={
            features.LEAF: rng.choice(np.array(LEAVES, dtype=object), rows, p=[0.4, 0.3, 0.2, 0.1]),
            features.USER_ACTIVITY: rng.choice(np.array(features.USER_ACTIVITY_LEVELS, dtype=object), rows),
        },
        candidate=predictions(0.3),
        baseline=predictions(1.0),
    )


def only(clicks: ScoredClicks, inside: np.ndarray) -> ScoredClicks:
    """Some of the clicks."""

    def cut(columns):
        return {name: values[inside] for name, values in columns.items()}

    return ScoredClicks(
        user=clicks.user[inside],
        event_time_us=clicks.event_time_us[inside],
        label_of_output=clicks.label_of_output,
        labels=cut(clicks.labels),
        alpha=clicks.alpha[inside],
        slices=cut({name: clicks.slices[name] for name in SLICES}),
        candidate=cut(clicks.candidate),
        baseline=cut(clicks.baseline),
    )


def without_conversions(clicks: ScoredClicks) -> ScoredClicks:
    """The same clicks in a store where nobody buys."""
    return replace(clicks, labels={name: np.zeros_like(values) for name, values in clicks.labels.items()})


def similarity_table(leaves: int = len(LEAVES)) -> SimilarityTable:
    """Relatedness of the first leaves; every pair is related."""
    names = sorted(LEAVES)[:leaves]
    i, j = np.triu_indices(len(names), 1)
    return SimilarityTable(
        leaves=np.array(names, dtype=object),
        users=np.arange(10, 10 + len(names)),
        events=np.arange(20, 20 + len(names)),
        i=i.astype(np.int32),
        j=j.astype(np.int32),
        cosine=np.linspace(0.1, 0.9, len(i)).astype(np.float32),
        both=np.ones(len(i), np.int64),
        otherwise=0.0,
        meta={"settings": {"scheme": "taxonomy_cf", "unit": "user"}},
    )


SESSION_COUNTS = {
    "read": 12_345,
    "kept": {"eval": 1_000, "train": 9_000},
    "duplicates": 300,
    "set_aside": {"impression": 2_000},
    "outside_window": 30,
    "rejected": {"no product_id": 10, "event_time <b>cannot</b> be read": 5},
    "users": 800,
    "sessions": 950,
    "files": [{"path": "events/one.parquet", "read": 12_345, "rejected": {"no product_id": 15}}],
}
_SPLIT_COUNTS = {
    "clicks": 900,
    "rows": 900,
    "immature": 7,
    "in_outage": 11,
    "y_caba": 60,
    "y_cabb": 50,
    "y_any": 90,
    "last_click_credit": 40,
    "purchases": 120,
    "purchases_after_a_click": 100,
    "alpha_mean": 0.35,
    "alpha_histogram": [5] * 10 + [0] * 10,
}
LABEL_COUNTS = {
    "train": _SPLIT_COUNTS,
    "eval": _SPLIT_COUNTS,
    "outages": [["2024-03-02T07:00:00+00:00", "2024-03-03T18:00:00+00:00"]],
    "settings": {"window": "session"},
}
TRAINING = [
    {"step": n, "examples": n * 100, "loss": 1 / n, "ne_caba": 0.9, "ne_cabb": None, "ne_conversion": 1 / n}
    for n in range(1, 6)
]
ANOMALIES = {
    "passed": True,
    "anomalies": [],
    "distances": [],
    "rows": {},
    "positives": {},
    "production_version": 3,
}
PASSED = Check(
    features.P_CONVERSION, "normalized_entropy", "NE <= 1", 0.8, True, "p_conversion: NE 0.800 is at most 1"
)
FAILED = Check(
    features.P_CABA, "calibration", "calibration <= 1.2", None, False, "p_caba: calibration is <not> a number"
)


def run_record(**changes) -> RunRecord:
    """A run that was pushed as version 4 against version 3."""
    record = RunRecord(
        session_counts=SESSION_COUNTS,
        label_counts=LABEL_COUNTS,
        similarity=similarity_table(),
        training=TRAINING,
        inside={},
        anomalies=ANOMALIES,
        verdict=Verdict(True, (PASSED,)),
        push=Push(4, "/serving/cabb/4"),
        baseline=Baseline("production", 3, "2016-08-01", "2016-09-24"),
        configuration={"name": "shop", "note": "</pre><img src=x onerror=alert(1)>"},
        lineage=[("Run key", "abc")],
        run_key="abc",
    )
    return replace(record, **changes)
