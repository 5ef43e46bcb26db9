"""S against a dense reference, its invariants, and the same sums however users are split over partitions."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.category_similarity.schemes import SimilaritySettings, similarity_table
from components.category_similarity.similarity import CoEngagement, Related, SimilarityTable
from schemas.events import UNKNOWN

LEAVES = ["Garden", "Home > Kettles", "Home > Mugs", "Toys", "Zoo", UNKNOWN]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(0, 2),
        st.sampled_from(["click", "detail_view", "add_to_cart", "purchase", "checkout"]),
        st.sampled_from(LEAVES),
        st.booleans(),
    ),
    max_size=60,
)
UNITS = st.sampled_from(["user", "session"])
WEIGHTS = st.fixed_dictionaries({"click": st.integers(0, 2), "purchase": st.integers(1, 5)})


def frame(rows: list[tuple]) -> pl.DataFrame:
    """Session rows; only clicks and detail views can be `is_click`, a detail view without it is a twin."""
    return pl.DataFrame(
        [
            (f"u{u}", f"s{s}", kind, leaf, flag and kind in ("click", "detail_view"))
            for u, s, kind, leaf, flag in rows
        ],
        schema={
            "user_id": pl.String,
            "session_id": pl.String,
            "event_type": pl.Categorical,
            "leaf": pl.Categorical,
            "is_click": pl.Boolean,
        },
        orient="row",
    )


def dense_reference(rows: pl.DataFrame, unit: str, weights: dict[str, float]) -> dict[tuple[str, str], float]:
    """Eq. 1 and 2, cell by cell, in dictionaries."""
    v: dict[str, dict] = defaultdict(lambda: defaultdict(float))
    for user, session, kind, leaf, is_click in rows.cast({"event_type": pl.String, "leaf": pl.String}).rows():
        weight = weights.get("click", 0) if is_click else weights.get(kind, 0) if kind != "click" else 0
        if weight and leaf != UNKNOWN:
            v[leaf][(user, session) if unit == "session" else user] += weight

    def dot(a: str, b: str) -> float:
        return sum(x * v[b].get(u, 0.0) for u, x in v[a].items())

    return {(a, b): dot(a, b) / np.sqrt(dot(a, a) * dot(b, b)) for a in v for b in v}


@settings(max_examples=100, deadline=None)
@given(ROWS, UNITS, WEIGHTS)
def test_similarity_is_the_cosine_of_the_definition(rows, unit, weights):
    events = frame(rows)
    truth = dense_reference(events, unit, weights)
    chosen = SimilaritySettings(unit=unit, event_weights=weights)
    table = similarity_table(CoEngagement.of(events, unit, weights), chosen)
    assert set(table.leaves) == {a for a, _ in truth}
    pairs = list(itertools.product(LEAVES, LEAVES))
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    got = table.lookup(a, b)
    assert got.dtype == np.float32
    assert np.all((got >= 0) & (got <= 1))
    np.testing.assert_array_equal(got, table.lookup(b, a))
    for (x, y), value in zip(pairs, got, strict=True):
        if x == y:
            assert value == (x != UNKNOWN)
        else:
            assert value == pytest.approx(truth.get((x, y), 0.0), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(ROWS, UNITS, st.integers(1, 5))
def test_sums_of_partitions_are_the_sums_of_the_whole(rows, unit, partitions):
    events = frame(rows)
    weights = SimilaritySettings().event_weights
    whole = CoEngagement.of(events, unit, weights)
    of_user = events["user_id"].str.slice(1).cast(pl.Int32) % partitions
    parts = [
        CoEngagement.from_bytes(CoEngagement.of(events.filter(of_user == p), unit, weights).to_bytes())
        for p in range(partitions)
    ]
    for order in (parts, parts[::-1]):
        merged = CoEngagement.merge([CoEngagement.merge(order[:2]), *order[2:]])
        for name, values in vars(whole).items():
            np.testing.assert_array_equal(getattr(merged, name), values, err_msg=name)


def test_a_click_and_its_own_detail_view_count_once():
    rows = [
        (0, 0, "click", "Toys", True),
        (0, 0, "detail_view", "Toys", False),
        (0, 0, "purchase", "Zoo", False),
    ]
    sums = CoEngagement.of(frame(rows), "user", {"click": 1.0, "purchase": 5.0})
    assert sums.leaves.tolist() == ["Toys", "Zoo"]
    assert sums.squares.tolist() == [1.0, 25.0]
    assert sums.dot.tolist() == [5.0]


@pytest.fixture
def table() -> SimilarityTable:
    rows = [
        *[(u, 0, "click", "Toys", True) for u in range(4)],
        *[(u, 0, "click", "Zoo", True) for u in range(3)],
        (0, 0, "click", "Garden", True),
        (9, 0, "click", "Home > Mugs", True),
    ]
    return similarity_table(CoEngagement.of(frame(rows), "user", {"click": 1.0}), SimilaritySettings())


def test_top_gives_the_evidence(table):
    related = table.top("Toys", 5)
    assert [(r.leaf, r.support, r.both) for r in related] == [("Zoo", 3, 3), ("Garden", 1, 1)]
    assert related[0].cosine == pytest.approx(3 / np.sqrt(12))
    assert isinstance(related[0], Related)
    assert table.top("Home > Mugs") == []
    with pytest.raises(KeyError):
        table.top("Toyz")


def test_save_and_load_keep_everything(table, tmp_path: Path):
    table.save(tmp_path / "s")
    again = SimilarityTable.load(tmp_path / "s")
    for name, value in vars(table).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "leaves.parquet",
        "meta.json",
        "pairs.parquet",
    ]
    with pytest.raises(FileNotFoundError):
        SimilarityTable.load(tmp_path)


def test_static_relates_everything():
    sums = CoEngagement.of(frame([(0, 0, "click", "Toys", True)]), "user", {"click": 1.0})
    static = similarity_table(sums, SimilaritySettings(scheme="static"))
    assert (
        static.lookup(["Toys", "Toys", UNKNOWN, "new"], ["Zoo", "Toys", UNKNOWN, "Toys"]).tolist()
        == [1.0] * 4
    )
    assert static.users.tolist() == [1]


def test_a_leaf_that_training_never_saw_is_related_to_itself_only(table):
    assert table.lookup(["new", "new", UNKNOWN], ["new", "Toys", UNKNOWN]).tolist() == [1.0, 0.0, 0.0]


def test_settings_refuse_weights_that_cannot_work():
    for bad in ({"clik": 1}, {"click": -1}, {"click": 0}, {"click": float("inf")}):
        with pytest.raises(ValueError):
            SimilaritySettings(event_weights=bad)
