"""The shuffle keeps users whole and rows complete."""

import apache_beam as beam
import numpy as np
import polars as pl
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from components.columnar import PartitionByUser, join, split, stable_partition

KEYS = st.lists(st.text(max_size=40), max_size=60)


def fnv1a(key: str, partitions: int) -> int:
    """The definition, one byte at a time."""
    value = 0xCBF29CE484222325
    for octet in key.encode():
        value = ((value ^ octet) * 0x100000001B3) % 2**64
    return (value ^ (value >> 32)) % partitions


@given(keys=KEYS, partitions=st.integers(1, 50))
def test_partition_is_the_hash_by_definition(keys: list[str], partitions: int) -> None:
    got = stable_partition(pl.Series(keys, dtype=pl.String), partitions)
    assert got.tolist() == [fnv1a(key, partitions) for key in keys]


def test_partition_of_a_slice_is_that_of_the_whole() -> None:
    keys = pl.Series([f"user {i % 97}" for i in range(1000)])
    whole = stable_partition(keys, 16)
    np.testing.assert_array_equal(stable_partition(keys.slice(333, 500), 16), whole[333:833])


def test_users_spread_evenly() -> None:
    rows = np.bincount(stable_partition(pl.Series([str(i) for i in range(32_000)]), 16), minlength=16)
    assert rows.min() > 1800 and rows.max() < 2200


@given(keys=KEYS)
def test_splitting_and_joining_loses_nothing(keys: list[str]) -> None:
    frame = pl.DataFrame(
        {"user_id": keys, "row": range(len(keys))}, schema={"user_id": pl.String, "row": pl.Int64}
    )
    slices = list(split(frame, "user_id", 7))
    rows = join([part for _, part in slices]).sort("row") if slices else frame.clear()
    assert rows.equals(frame)


def test_a_user_meets_all_its_rows() -> None:
    frames = [
        pl.DataFrame({"user_id": [f"u{i % 5}", f"u{i % 3}"], "row": [2 * i, 2 * i + 1]}) for i in range(30)
    ]

    def check(partitions: list[tuple[int, pl.DataFrame]]) -> None:
        homes = [user for _, rows in partitions for user in rows["user_id"].unique()]
        assert sorted(homes) == ["u0", "u1", "u2", "u3", "u4"]
        assert sorted(row for _, rows in partitions for row in rows["row"]) == list(range(60))

    with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
        assert_that(pipeline | beam.Create(frames) | PartitionByUser(4), check)
