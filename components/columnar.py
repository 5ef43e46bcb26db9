"""The one shuffle: columnar batches to user partitions through Beam.

A batch is split by a stable hash of its users and each slice travels as compressed Arrow IPC bytes, so that
Beam moves a few large elements instead of one per event. A user is whole within a partition, which is why
everything downstream is vectorised work on one partition at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import polars as pl

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x00000100000001B3)


def stable_partition(keys: pl.Series, partitions: int) -> np.ndarray:
    """Partition of every key: FNV-1a (64 bit) of its UTF-8 bytes, high half folded in, modulo `partitions`.

    Equal keys fall together in every process, version and machine.

    Args:
        keys: [n] strings, none null.
        partitions: number of partitions, at least 1.

    Returns:
        [n] int64 in [0, partitions).

    >>> stable_partition(pl.Series(["ann", "bob", "ann"]), 16).tolist()
    [1, 13, 1]
    """
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int64)
    encoded = keys.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    hashes = _fnv1a(encoded.dictionary.offset, encoded.dictionary.buffers(), len(encoded.dictionary))
    folded = hashes ^ (hashes >> np.uint64(32))
    return (folded % np.uint64(partitions)).astype(np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]


def _fnv1a(first: int, buffers: list, length: int) -> np.ndarray:
    """[length] uint64 hashes of an Arrow large_string array, one vectorised step per byte position."""
    offsets = np.frombuffer(buffers[1], dtype=np.int64)[first : first + length + 1]
    text = np.frombuffer(buffers[2], dtype=np.uint8) if buffers[2] else np.zeros(0, dtype=np.uint8)
    hashes = np.full(length, _FNV_OFFSET)
    remaining, start, size = np.arange(length), offsets[:-1], np.diff(offsets)
    for position in range(int(size.max(initial=0))):
        longer = size[remaining] > position
        remaining = remaining[longer]
        octets = text[start[remaining] + position].astype(np.uint64)
        hashes[remaining] = (hashes[remaining] ^ octets) * _FNV_PRIME
    return hashes


def split(frame: pl.DataFrame, key: str, partitions: int) -> Iterator[tuple[int, bytes]]:
    """Slices of a frame by the partition of column `key`, as (partition, Arrow IPC stream with lz4)."""
    partition = pl.Series("_partition", stable_partition(frame[key], partitions))
    by_partition = frame.with_columns(partition).partition_by("_partition", as_dict=True, include_key=False)
    for (index,), rows in sorted(by_partition.items()):
        stream = io.BytesIO()
        rows.write_ipc_stream(stream, compression="lz4")
        yield index, stream.getvalue()


def join(slices: Iterable[bytes]) -> pl.DataFrame:
    """The rows of all slices of one partition; their order is not defined."""
    return pl.concat([pl.read_ipc_stream(io.BytesIO(rows)) for rows in slices])


class PartitionByUser(beam.PTransform):
    """PCollection of frames -> PCollection of (partition, frame) in which every user's rows are together."""

    def __init__(self, partitions: int, key: str = "user_id"):
        super().__init__()
        self._partitions = partitions
        self._key = key

    def expand(self, frames: beam.PCollection) -> beam.PCollection:
        return (
            frames
            | "Split" >> beam.FlatMap(split, self._key, self._partitions)
            | "Group" >> beam.GroupByKey()
            | "Join" >> beam.MapTuple(lambda partition, slices: (partition, join(slices)))
        )
