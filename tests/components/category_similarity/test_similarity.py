"""S against a dense reference, its invariants, and the same sums however users are split over partitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

from components.category_similarity.co_engagement import CoEngagement
from components.category_similarity.learning import similarity_table
from components.category_similarity.semantic import text_relatedness
from components.category_similarity.settings import SimilaritySettings
from components.category_similarity.similarity import ProductPairs, Related, SimilarityTable
from schemas.events import UNKNOWN

LEAVES = ["Garden", "Home > Tea > Kettles", "Home > Tea > Teapots", "Home > Mugs", "Toys", "Zoo", UNKNOWN]
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
OPTIONS = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["user", "session"]),
        "event_weights": st.fixed_dictionaries({"click": st.integers(0, 2), "purchase": st.integers(1, 5)}),
        "half_life_days": st.sampled_from([None, 2.0]),
        "damping": st.sampled_from(["none", "idf"]),
        "shrinkage": st.sampled_from([0.0, 2.5]),
        "back_off": st.sampled_from([0.0, 4.0]),
    }
)


def frame(rows: list[tuple]) -> pl.DataFrame:
    """Session rows; only clicks and detail views can be `is_click`, a detail view without it is a twin."""
    return pl.DataFrame(
        [
            (
                f"u{u}",
                f"s{s}",
                datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=7 * n),
                kind,
                leaf,
                flag and kind in ("click", "detail_view"),
                f"{leaf} {s}",
            )
            for n, (u, s, kind, leaf, flag) in enumerate(rows)
        ],
        schema={
            "user_id": pl.String,
            "session_id": pl.String,
            "event_time": pl.Datetime("us", "UTC"),
            "event_type": pl.Categorical,
            "leaf": pl.Categorical,
            "is_click": pl.Boolean,
            "item": pl.Categorical,
        },
        orient="row",
    )


def coded(names: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(names, pa.string()).dictionary_encode()


def sums_of(rows: pl.DataFrame, chosen: SimilaritySettings) -> dict[str, CoEngagement]:
    return {level: CoEngagement.of(rows, chosen, level) for level in ("leaf", "item")}


def learned(rows: pl.DataFrame, chosen: SimilaritySettings) -> SimilarityTable:
    return similarity_table(sums_of(rows, chosen), chosen)


def vectors(rows: pl.DataFrame, chosen: SimilaritySettings, leaves: list[str]) -> np.ndarray:
    """v_c of eq. 1, [leaves, units], decayed and damped by the book."""
    plain = rows.cast({"event_type": pl.String, "leaf": pl.String}).to_dicts()
    last = max((row["event_time"] for row in plain), default=None)
    cells: dict[tuple, float] = defaultdict(float)
    for row in plain:
        kind = "click" if row["is_click"] else row["event_type"]
        weight = chosen.event_weights.get(kind, 0) if row["is_click"] or kind != "click" else 0
        if chosen.half_life_days:
            weight *= 0.5 ** ((last - row["event_time"]) / timedelta(days=chosen.half_life_days))
        if weight and row["leaf"] != UNKNOWN:
            unit = (row["user_id"], row["session_id"] if chosen.unit == "session" else "")
            cells[row["leaf"], unit] += weight
    units = sorted({unit for _, unit in cells})
    v = np.array([[cells.get((leaf, unit), 0.0) for unit in units] for leaf in leaves])
    v = v.reshape(len(leaves), len(units))
    if chosen.damping == "idf" and v.size:
        v = TfidfTransformer(norm=None, smooth_idf=True).fit_transform(v).toarray()
    return v


def reference(rows: pl.DataFrame, chosen: SimilaritySettings, leaves: list[str]) -> np.ndarray:
    """S by co-engagement, pair by pair from its definition, [leaves, leaves]."""
    v = vectors(rows, chosen, leaves)
    support = (v > 0).sum(axis=1)
    levels = max((leaf.count(" > ") for leaf in leaves), default=0)

    def group(leaf: int, up: int) -> list[int]:
        def above(at: int) -> list[str]:
            path = leaves[at].split(" > ")
            return path[: max(len(path) - up, 1)]

        return [leaf] if up == 0 else [c for c in range(len(leaves)) if above(c) == above(leaf)]

    def cosine(p: list[int], q: list[int]) -> float:
        pairs = [(a, b) for a in p for b in q if a != b]
        mean = np.mean([v[a] @ v[b] for a, b in pairs])
        squares = np.mean([v[a] @ v[a] for a in p]) * np.mean([v[b] @ v[b] for b in q])
        return mean / np.sqrt(squares) if squares else 0.0

    def relatedness(a: int, b: int) -> float:
        both = ((v[a] > 0) & (v[b] > 0)).sum()
        own = cosine([a], [b]) * (both / (both + chosen.shrinkage) if both else 0.0)
        if not chosen.back_off:
            return own
        value = 0.0
        for up in range(levels, -1, -1):
            p, q = group(a, up), group(b, up)
            n = min(support[p].sum(), support[q].sum())
            trust = n / (n + chosen.back_off)
            value = trust * (cosine(p, q) if up else own) + (1 - trust) * value
        return value

    n = len(leaves)
    return np.array([[1.0 if a == b else relatedness(a, b) for b in range(n)] for a in range(n)])


@settings(max_examples=150, deadline=None)
@given(ROWS, OPTIONS)
def test_similarity_is_the_definition(rows, options):
    events, chosen = frame(rows), SimilaritySettings(**options)
    table = learned(events, chosen)
    engaged = table.leaves.tolist()
    truth = reference(events, chosen, engaged)
    a, b = (grid.ravel() for grid in np.meshgrid(LEAVES, LEAVES))
    got = table.lookup(a, b)
    assert got.dtype == np.float32
    assert np.all((got >= 0) & (got <= 1))
    np.testing.assert_array_equal(got, table.lookup(b, a))
    for x, y, value in zip(a, b, got, strict=True):
        if x == y:
            assert value == (x != UNKNOWN)
        elif x in engaged and y in engaged:
            assert value == pytest.approx(truth[engaged.index(x), engaged.index(y)], abs=1e-6)
        else:
            assert value == 0


@settings(max_examples=100, deadline=None)
@given(ROWS, OPTIONS, st.integers(1, 5))
def test_sums_of_partitions_are_the_sums_of_the_whole(rows, options, partitions):
    events, chosen = frame(rows), SimilaritySettings(**options)
    whole = CoEngagement.of(events, chosen)
    of_user = events["user_id"].str.slice(1).cast(pl.Int32) % partitions
    parts = [
        CoEngagement.from_bytes(CoEngagement.of(events.filter(of_user == p), chosen).to_bytes())
        for p in range(partitions)
    ]
    exact = not options["half_life_days"] and options["damping"] == "none"
    for order in (parts, parts[::-1]):
        merged = CoEngagement.merge([CoEngagement.merge(order[:2]), *order[2:]])
        for name, values in vars(whole).items():
            if exact or getattr(values, "dtype", None) in (object, np.int64, np.int32):
                np.testing.assert_array_equal(getattr(merged, name), values, err_msg=name)
            else:
                np.testing.assert_allclose(getattr(merged, name), values, rtol=1e-9, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(ROWS, OPTIONS, st.integers(1, 3))
def test_a_user_left_out_is_a_user_that_never_was(rows, options, seed):
    events = frame(rows)
    chosen = SimilaritySettings(**options, leave_user_out=True)
    table = learned(events, chosen)
    if not len(table.leaves):
        return
    rng = np.random.default_rng(seed)
    user, a, b = rng.integers(0, 7, 40), *rng.choice(table.leaves, (2, 40))
    coded_events = events.with_columns(user_id=pl.col("user_id").str.slice(1).cast(pl.Int64))
    pairs = ProductPairs(user, coded(a), coded(b), coded(["x"] * 40), coded(["y"] * 40))
    got = table.alpha(pairs, lambda: coded_events)
    for u, x, y, value in zip(user, a, b, got, strict=True):
        others = CoEngagement.merge(
            [
                CoEngagement.of(events.filter(pl.col("user_id") != f"u{u}"), chosen),
                CoEngagement.nothing(table.leaves, chosen),
            ]
        )
        without = similarity_table({"leaf": others}, SimilaritySettings(**options))
        assert value == pytest.approx(without.lookup([x], [y])[0], abs=1e-5)


def test_years_of_log_and_a_half_life_of_minutes_neither_overflow_nor_vanish():
    chosen = SimilaritySettings(half_life_days=0.001)
    events = frame([(u, 0, "click", leaf, True) for u in range(3) for leaf in ("Toys", "Zoo")])
    old = events.with_columns(pl.col("event_time") - timedelta(days=9 * 365))
    merged = CoEngagement.merge([CoEngagement.of(rows, chosen) for rows in (old, events)])
    np.testing.assert_allclose(merged.dot, CoEngagement.of(events, chosen).dot)
    assert np.all(merged.dot > 0)


def test_a_click_and_its_own_detail_view_count_once():
    rows = [
        (0, 0, "click", "Toys", True),
        (0, 0, "detail_view", "Toys", False),
        (0, 0, "purchase", "Zoo", False),
    ]
    sums = CoEngagement.of(frame(rows), SimilaritySettings(event_weights={"click": 1.0, "purchase": 5.0}))
    assert sums.names.tolist() == ["Toys", "Zoo"]
    assert sums.squares.tolist() == [[1.0, 25.0]]
    assert sums.dot.tolist() == [[5.0]]


@pytest.fixture
def table() -> SimilarityTable:
    rows = [
        *[(u, 0, "click", "Toys", True) for u in range(4)],
        *[(u, 0, "click", "Zoo", True) for u in range(3)],
        (0, 0, "click", "Garden", True),
        (9, 0, "click", "Home > Mugs", True),
    ]
    return learned(frame(rows), SimilaritySettings(event_weights={"click": 1.0}, shrinkage=0))


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


def no_rows() -> pl.DataFrame:
    raise AssertionError("rows are for leaving users out")


def random_items(seed: int, users: int = 80, items: int = 30) -> pl.DataFrame:
    """Clicks on items 0..items-1 of three leaves."""
    rng = np.random.default_rng(seed)
    item = rng.zipf(1.3, users * 12) % items
    return pl.DataFrame(
        {
            "user_id": np.char.mod("u%03d", rng.integers(0, users, len(item))),
            "session_id": "s",
            "event_time": datetime(2024, 3, 1, tzinfo=UTC),
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
        user=np.zeros(4, int),
        leaf_a=coded(["Toys", "Toys", "Toys", UNKNOWN]),
        leaf_b=coded(["Zoo", "Zoo", "Toys", "Zoo"]),
        item_a=coded(["i01", "i01", "new", "i01"]),
        item_b=coded(["i02", "new", "new too", "i02"]),
    )
    by_item = table.items.lookup(pa.array(["i01"]), pa.array(["i02"]))[0]
    by_leaf = table.lookup(["Toys"], ["Zoo"])[0]
    assert by_item != by_leaf
    assert table.alpha(pairs, no_rows).tolist() == [by_item, by_leaf, 1.0, by_item]
    table.save(tmp_path)
    assert (
        SimilarityTable.load(tmp_path).alpha(pairs, no_rows).tolist() == table.alpha(pairs, no_rows).tolist()
    )


def test_texts_are_related_from_above_what_unrelated_texts_have_in_common():
    rng = np.random.default_rng(5)
    vectors = 1.0 + rng.normal(0, 2.0, (60, 64))
    vectors[1] = vectors[0] + rng.normal(0, 0.2, 64)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    s = text_relatedness(vectors)
    np.testing.assert_array_equal(s, s.T)
    assert np.all((s >= 0) & (s <= 1))
    assert np.all(np.diag(s) == 1)
    assert s[0, 1] > 0.8
    assert np.mean(s[2:, 2:][np.triu_indices(58, 1)]) < 0.02
    assert text_relatedness(vectors[:1]).tolist() == [[1.0]]


@pytest.mark.slow  # loads the sentence model
def test_categories_are_related_by_what_their_names_mean_and_blended_with_co_engagement():
    names = ["Home > Kettles", "Kitchen > Teapots", "Vehicles > Snow Chains", "Toys", "Garden", "Zoo", "Pets"]
    names += ["Music > Guitars", "Office > Staplers", "Books > Novels", "Sports > Skis", "Beauty > Mascara"]
    events = frame([(0, 0, "click", "Home > Kettles", True), (0, 0, "click", "Toys", True)])
    sums = CoEngagement.merge(
        [CoEngagement.of(events, SimilaritySettings()), CoEngagement.nothing(names, SimilaritySettings())]
    )
    by_text, co_engaged, blend = (
        similarity_table({"leaf": sums}, SimilaritySettings(scheme=scheme, semantic_share=0.25))
        for scheme in ("semantic", "taxonomy_cf", "blend")
    )
    assert by_text.lookup(["Home > Kettles"], ["Kitchen > Teapots"])[0] > 0.3
    assert by_text.lookup(["Home > Kettles"], ["Vehicles > Snow Chains"])[0] < 0.1
    a, b = np.repeat(names, len(names)), np.tile(names, len(names))
    for table in (by_text, blend):
        s = table.lookup(a, b)
        assert np.all((s >= 0) & (s <= 1))
        np.testing.assert_array_equal(s, table.lookup(b, a))
        assert np.all(s[a == b] == 1)
    mixed = 0.25 * by_text.lookup(a, b) + 0.75 * co_engaged.lookup(a, b)
    np.testing.assert_allclose(blend.lookup(a, b), mixed, atol=1e-6)
    again = similarity_table({"leaf": sums}, SimilaritySettings(scheme="semantic"))
    np.testing.assert_array_equal(again.cosine, by_text.cosine)


def test_settings_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="leave_user_out"):
        SimilaritySettings(scheme="i2i", leave_user_out=True)
