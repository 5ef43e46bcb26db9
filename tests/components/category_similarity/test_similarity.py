"""S against a dense reference, its invariants, and the same sums however users are split over partitions."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.category_similarity.co_engagement import CoEngagement
from components.category_similarity.learning import similarity_table
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import ProductPairs, Related, SimilarityTable
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
            (
                f"u{u}",
                f"s{s}",
                kind,
                leaf,
                flag and kind in ("click", "detail_view"),
                f"{leaf} {s}",
            )
            for u, s, kind, leaf, flag in rows
        ],
        schema={
            "user_id": pl.String,
            "session_id": pl.String,
            "event_type": pl.Categorical,
            "leaf": pl.Categorical,
            "is_click": pl.Boolean,
            "item": pl.Categorical,
        },
        orient="row",
    )


def sums_of(rows: pl.DataFrame, chosen: SimilaritySettings) -> dict[str, CoEngagement]:
    return {level: CoEngagement.of(rows, chosen, level) for level in ("leaf", "item")}


def learned(rows: pl.DataFrame, chosen: SimilaritySettings) -> SimilarityTable:
    return similarity_table(sums_of(rows, chosen), chosen)


def dense_reference(rows: pl.DataFrame, unit: str, weights: dict[str, float]) -> dict[tuple[str, str], float]:
    """Eq. 1 and 2, cell by cell, in dictionaries."""
    v: dict[str, dict] = defaultdict(lambda: defaultdict(float))
    for user, session, kind, leaf, is_click, _ in rows.cast(
        {"event_type": pl.String, "leaf": pl.String}
    ).rows():
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
    table = learned(events, chosen)
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
    chosen = SimilaritySettings(unit=unit)
    whole = CoEngagement.of(events, chosen)
    of_user = events["user_id"].str.slice(1).cast(pl.Int32) % partitions
    parts = [
        CoEngagement.from_bytes(CoEngagement.of(events.filter(of_user == p), chosen).to_bytes())
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
    sums = CoEngagement.of(frame(rows), SimilaritySettings(event_weights={"click": 1.0, "purchase": 5.0}))
    assert sums.names.tolist() == ["Toys", "Zoo"]
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
    return learned(frame(rows), SimilaritySettings(event_weights={"click": 1.0}))


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
    static = learned(frame([(0, 0, "click", "Toys", True)]), SimilaritySettings(scheme="static"))
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


def coded(names: list[str]):
    return pa.array(names, pa.string()).dictionary_encode()


def random_items(seed: int, users: int = 80, items: int = 30) -> pl.DataFrame:
    """Clicks on items 0..items-1 of three leaves."""
    rng = np.random.default_rng(seed)
    item = rng.zipf(1.3, users * 12) % items
    return pl.DataFrame(
        {
            "user_id": np.char.mod("u%03d", rng.integers(0, users, len(item))),
            "session_id": "s",
            "event_type": "click",
            "is_click": True,
            "leaf": np.array(["Garden", "Toys", "Zoo"])[item % 3],
            "item": np.char.mod("i%02d", item),
        }
    )


@pytest.mark.parametrize("rank", [4, 12, 99])
def test_item_embeddings_are_the_truncated_svd(rank):
    rows = random_items(seed=rank)
    chosen = SimilaritySettings(scheme="i2i", rank=rank, item_support=3, event_weights={"click": 1.0})
    table = learned(rows, chosen)
    matrix = rows.pivot("item", index="user_id", values="leaf", aggregate_function="len").fill_null(0)
    names = [n for n in sorted(matrix.columns[1:]) if (matrix[n] > 0).sum() >= 3]
    v = matrix.select(names).to_numpy().astype(float)
    _, sigma, q = np.linalg.svd(v / np.linalg.norm(v, axis=0), full_matrices=False)
    vectors = (sigma[:rank, None] * q[:rank]).T
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosine = vectors @ vectors.T
    assert table.items.items.tolist() == names
    a, b = np.repeat(names, len(names)), np.tile(names, len(names))
    got = table.items.lookup(pa.array(a), pa.array(b)).reshape(cosine.shape)
    np.testing.assert_allclose(got, np.clip(cosine, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(got, got.T)
    assert np.all(np.diag(got) == 1)
    best = table.items.nearest(names[0], 3)
    assert best[0][1] == pytest.approx(np.sort(cosine[0])[-2], abs=1e-5)


def test_items_without_an_embedding_are_related_as_their_leaves(tmp_path: Path):
    rows = random_items(seed=1)
    table = learned(rows, SimilaritySettings(scheme="i2i", rank=4, item_support=3))
    pairs = ProductPairs(
        leaf_a=coded(["Toys", "Toys", "Toys", UNKNOWN]),
        leaf_b=coded(["Zoo", "Zoo", "Toys", "Zoo"]),
        item_a=coded(["i01", "i01", "new", "i01"]),
        item_b=coded(["i02", "new", "new too", "i02"]),
    )
    by_item = table.items.lookup(pa.array(["i01"]), pa.array(["i02"]))[0]
    by_leaf = table.lookup(["Toys"], ["Zoo"])[0]
    assert by_item != by_leaf
    assert table.alpha(pairs).tolist() == [by_item, by_leaf, 1.0, by_item]
    table.save(tmp_path)
    assert SimilarityTable.load(tmp_path).alpha(pairs).tolist() == table.alpha(pairs).tolist()
