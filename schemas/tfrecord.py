"""TFRecord framing without TensorFlow: length, its masked CRC-32C, data, its masked CRC-32C."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path


def framed(records: Iterable[bytes]) -> bytes:
    """Records as they stand in a file."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += (length, _masked(length), record, _masked(record))
    return b"".join(parts)


def records(path: Path) -> Iterator[bytes]:
    """Records of a file that is not compressed; one that was cut off, and all after it, are left out."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if _masked(head[:8]) != head[8:]:
                return
            body = file.read(length + 4)
            if len(body) < length + 4 or _masked(body[:length]) != body[length:]:
                return
            yield body[:length]


def _masked(data: bytes) -> bytes:
    from google_crc32c import value as crc32c

    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
