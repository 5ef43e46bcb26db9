"""Log files -> raw frames in bounded memory: which files there are, what they must hold, how they stream.

A file is what its first bytes say (Parquet, gzip, JSON lines, else CSV), whatever its name. Parquet is read
by row group, text files from start to end; every row keeps its number, so that a rejected one can be found
again. Row numbers count from 1 and leave out the header and blank lines.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from components.session_example_gen.formats import Layout
from schemas.errors import InputError
from schemas.events import LogSource

ROW = "_row"
"""Column of raw frames: the row's number in its file."""
NOT_UTF8 = "_not_utf8"
"""Column of raw frames of text files: whether a value had to be repaired (boolean)."""

_BATCH_ROWS = 1 << 17
_BLOCK_BYTES = 1 << 22
"""Bytes of text parsed at once, and the longest line that is accepted."""
_RAW_CHARS = 2000
"""Longest quotation of a rejected row."""
_GZIP_MAGIC = b"\x1f\x8b"

_BLANK = re.compile(rb"\n(?=\r?\n)")
_FEW_BREAKS = 10
"""Line breaks inside the values of a CSV file that are taken as meant."""

Kind = Literal["parquet", "csv", "jsonl"]


class UnreadableFileError(Exception):
    """A file whose bytes are not what they claim to be; the message says how."""


@dataclass(frozen=True)
class ReadUnit:
    """A part of the logs that one worker streams: a Parquet row group or a whole text file.

    Attributes:
        file: position of the file among the source's files in name order.
        first_row: number of rows of the file before this unit.
    """

    path: str
    kind: Kind
    file: int
    row_group: int | None = None
    first_row: int = 0
    gzipped: bool = False


@dataclass(frozen=True)
class RawBatch:
    """Rows as they stand in the file, and lines that are no rows at all.

    Attributes:
        rows: source columns that the layout reads and the file has, ROW and, for text files, NOT_UTF8.
        malformed: row (int64), reason, raw (strings).
    """

    rows: pl.DataFrame
    malformed: pl.DataFrame


def plan(source: LogSource, layout: Layout) -> list[ReadUnit]:
    """The units of all files of a source, after a look at each file's beginning.

    Raises:
        InputError: no file matches, a file is not readable, or it lacks a column.
    """
    units: list[ReadUnit] = []
    for position, path in enumerate(files_of(source.events)):
        with _or_input_error(path):
            kind, gzipped = _sniff(path)
            whole = ReadUnit(path, kind, position, gzipped=gzipped)
            if kind == "parquet":
                metadata = pq.read_metadata(path)
                _require(layout.required, metadata.schema.to_arrow_schema().names, path)
                first_row = 0
                for group in range(metadata.num_row_groups):
                    units.append(ReadUnit(path, kind, position, group, first_row))
                    first_row += metadata.row_group(group).num_rows
            else:
                _require(layout.required, _names_of(whole, layout), path)
                units.append(whole)
    return units


def files_of(patterns: list[str]) -> list[str]:
    """Non-empty files that match paths, folders or globs, once each, in name order.

    Raises:
        InputError: a pattern matches nothing, or nothing but empty files.
    """
    found: set[str] = set()
    for pattern in patterns:
        if os.path.isdir(pattern):
            matches = [str(path) for path in Path(pattern).rglob("*")]
        else:
            matches = glob.glob(pattern, recursive=True)
        matches = [path for path in matches if os.path.isfile(path) and Path(path).name[0] not in "._"]
        if not matches:
            raise InputError(f"no file matches {pattern!r} (looked from {os.getcwd()}); check `events`")
        found.update(path for path in matches if os.path.getsize(path))
    if not found:
        raise InputError(f"every file that matches {', '.join(patterns)} is empty; check `events`")
    return sorted(found)


def batches(unit: ReadUnit, layout: Layout) -> Iterator[RawBatch]:
    """Streams a unit.

    Raises:
        UnreadableFileError: the file breaks off or its bytes make no sense.
    """
    stream = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[unit.kind]
    with _or_unreadable():
        yield from stream(unit, layout)


def read_whole(path: str, layout: Layout) -> pl.DataFrame:
    """All rows of a small file (a catalog), as `batches` gives them.

    Raises:
        InputError: the file is not readable, lacks a column or has a malformed line.
    """
    if not os.path.isfile(path):
        raise InputError(f"no file {path!r} (looked from {os.getcwd()}); check `catalog`")
    one = LogSource(events=[glob.escape(path)])
    frames: list[pl.DataFrame] = []
    with _or_input_error(path):
        for unit in plan(one, layout):
            for batch in batches(unit, layout):
                if batch.malformed.height:
                    row, reason, raw = batch.malformed.row(0)
                    raise InputError(f"{path}: row {row}: {reason}: {raw[:200]}; mend the line")
                frames.append(batch.rows)
    if not frames:
        raise InputError(f"no rows in {path}; check `catalog`")
    return pl.concat(frames, how="diagonal_relaxed")


def _sniff(path: str) -> tuple[Kind, bool]:
    """What a file is, and whether it is compressed with gzip."""
    with open(path, "rb") as file:
        beginning = file.read(4)
    if beginning == b"PAR1":
        return "parquet", False
    gzipped = beginning[:2] == _GZIP_MAGIC
    with gzip.open(path) if gzipped else open(path, "rb") as file:
        text = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if beginning[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableFileError("it is UTF-16 text, and UTF-8 is expected")
    if text[:1] == b"[":
        raise UnreadableFileError("it is one JSON array, and one JSON object per line is expected")
    return ("jsonl" if text[:1] == b"{" else "csv"), gzipped


def _names_of(unit: ReadUnit, layout: Layout) -> list[str]:
    """Column names of a text file: its header, or the keys of its first block of lines."""
    if unit.kind == "csv":
        return list(layout.header or _header(unit))
    with _open(unit) as stream:
        lines = next(_line_blocks(stream))
    objects = [parsed for line in lines if isinstance(parsed := _parsed(line), dict)]
    if not objects:
        raise UnreadableFileError(f"row 1 is not a JSON object: {lines[0][:200].decode('utf-8', 'replace')}")
    return list(dict.fromkeys(key for parsed in objects for key in parsed))


def _header(unit: ReadUnit) -> list[str]:
    """First row of a CSV file.

    Arrow would let go of its reader in a thread, a moment later: Python that ends in that moment aborts.
    """
    with _open(unit) as stream:
        lines = stream.read(_BLOCK_BYTES).splitlines(keepends=True)
    return next(filter(None, csv.reader(line.decode("utf-8-sig") for line in lines)), [])


def _require(required: tuple[str, ...], names: list[str], path: str) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(names)[:500] or 'none'}; name its columns in `columns`"
        )


def _parquet(unit: ReadUnit, layout: Layout) -> Iterator[RawBatch]:
    first = unit.first_row + 1
    with pq.ParquetFile(unit.path) as file:
        columns = [name for name in layout.read if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[unit.row_group], columns=columns):
            batch.validate(full=True)
            yield RawBatch(_numbered(pl.from_arrow(_with_text(batch)), first), _malformed([]))
            first += batch.num_rows


def _with_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Byte columns, which is how some writers store strings, as text."""
    for position, field in enumerate(batch.schema):
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            try:
                batch = batch.set_column(position, field.name, batch.column(position).cast(pa.string()))
            except pa.ArrowInvalid:
                raise UnreadableFileError(
                    f"column {field.name!r} holds bytes that are not UTF-8 text"
                ) from None
    return batch


def _csv(unit: ReadUnit, layout: Layout) -> Iterator[RawBatch]:
    skipped: list[tuple[int, str, str]] = []
    offset = 0 if layout.header else 1  # the parser counts the header as a row
    options = pa.csv.ConvertOptions(
        include_columns=list(layout.read),
        include_missing_columns=True,
        column_types={name: pa.binary() for name in layout.read},
    )

    def skip(row: pa.csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} values where the file has {row.expected_columns} columns"
        skipped.append((row.number - offset, reason, row.text[:_RAW_CHARS]))
        return "skip"

    reported = good = 0
    with _CountingStream(_open(unit)) as stream:
        for batch in _csv_reader(stream, layout, skip, options):
            # The j-th skipped row (j from 0) of number h has h - 1 - j good rows before it.
            holes = np.array([row for row, _, _ in skipped], dtype=np.int64)
            ordinal = np.arange(good + 1, good + 1 + batch.num_rows)
            number = ordinal + np.searchsorted(holes - np.arange(len(holes)), ordinal, side="right")
            good += batch.num_rows
            rows = _decoded(batch).with_columns(pl.Series(ROW, number, dtype=pl.Int64))
            yield RawBatch(rows, _malformed(skipped[reported:]))
            reported = len(skipped)
        swallowed = stream.lines - good - len(skipped) - offset
        if swallowed > _FEW_BREAKS + good // 1000:
            raise UnreadableFileError(
                f"{swallowed:,} line breaks stand inside values: a quotation mark is never closed, or values "
                "span lines"
            )
    if len(skipped) > reported:
        empty = pl.DataFrame(schema={**dict.fromkeys(layout.read, pl.String), ROW: pl.Int64})
        yield RawBatch(empty.with_columns(pl.lit(False).alias(NOT_UTF8)), _malformed(skipped[reported:]))


class _CountingStream(io.RawIOBase):
    """A stream that counts the lines that are not blank as they are read."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self.lines = 0
        self._stream = stream
        self._end = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size if size >= 0 else None)
        if not chunk:
            self.lines += not self._end.startswith(b"\n")
            self._end = b"\n"
            return chunk
        # The line break before the chunk tells whether its first line is blank.
        before = self._end if self._end.startswith(b"\n") else b""
        self.lines += chunk.count(b"\n") - len(_BLANK.findall(before + chunk))
        self._end = chunk[-2:] if chunk.endswith(b"\n\r") else chunk[-1:]
        return chunk

    def close(self) -> None:
        self._stream.close()
        super().close()


def _csv_reader(
    stream: io.RawIOBase,
    layout: Layout,
    on_invalid: Callable[[pa.csv.InvalidRow], str],
    convert: pa.csv.ConvertOptions,
) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            use_threads=False, block_size=_BLOCK_BYTES, column_names=list(layout.header or [])
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_invalid),
        convert_options=convert,
    )


def _decoded(batch: pa.RecordBatch) -> pl.DataFrame:
    """Byte columns as text; bytes that are no UTF-8 become U+FFFD and the row is marked in NOT_UTF8."""
    columns: dict[str, pa.Array] = {}
    repaired = np.zeros(batch.num_rows, dtype=bool)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[name] = column.cast(pa.string())
        except pa.ArrowInvalid:
            texts = [value.decode("utf-8", "replace") for value in column.to_pylist()]
            damaged = [text.encode() != value for text, value in zip(texts, column.to_pylist(), strict=True)]
            repaired |= np.array(damaged)
            columns[name] = pa.array(texts, pa.string())
    return pl.from_arrow(pa.table(columns)).with_columns(pl.Series(NOT_UTF8, repaired))


def _jsonl(unit: ReadUnit, layout: Layout) -> Iterator[RawBatch]:
    first = 1
    with _open(unit) as stream:
        for lines in _line_blocks(stream):
            numbers = np.arange(first, first + len(lines))
            first += len(lines)
            table = _fast_json(lines, layout)
            malformed: list[tuple[int, str, str]] = []
            if table is None:
                table, numbers, malformed = _patient_json(lines, numbers, layout)
            columns = [name for name in layout.read if name in table.schema.names]
            rows = pl.from_arrow(table.select(columns)) if columns else pl.DataFrame()
            rows = rows.with_columns(pl.Series(ROW, numbers, dtype=pl.Int64), pl.lit(False).alias(NOT_UTF8))
            yield RawBatch(rows, _malformed(malformed))


def _fast_json(lines: list[bytes], layout: Layout) -> pa.Table | None:
    """Arrow's parser, or None where it would refuse the block or guess wrongly."""
    sample = _parsed(lines[0], number=float)
    if not isinstance(sample, dict):
        return None
    texts = [(name, pa.string()) for name in layout.read if isinstance(sample.get(name), str)]
    block = b"\n".join(lines)
    try:
        block.decode()
        table = _arrow_json(block, texts)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    identifiers = {layout.columns.get(name) for name in ("user_id", "session_id", "product_id")}
    guessed = any(
        pa.types.is_floating(field.type) or pa.types.is_timestamp(field.type)
        for field in table.schema
        if field.name in identifiers
    )
    return None if guessed or table.num_rows != len(lines) else table


def _patient_json(
    lines: list[bytes], numbers: np.ndarray, layout: Layout
) -> tuple[pa.Table, np.ndarray, list[tuple[int, str, str]]]:
    """Line by line: sets malformed lines apart and turns values of differing types into text."""
    good: list[bytes] = []
    kept: list[int] = []
    malformed: list[tuple[int, str, str]] = []
    texts: dict[str, pa.DataType] = {}
    for number, line in zip(numbers.tolist(), lines, strict=True):
        parsed = _parsed(line)
        if not isinstance(parsed, dict):
            malformed.append((number, "not a JSON object", line[:_RAW_CHARS].decode("utf-8", "replace")))
            continue
        row = {name: parsed.get(name) for name in layout.read}
        for name, value in row.items():
            if isinstance(value, (str, int, float)):
                row[name] = str(value)
                texts[name] = pa.string()
        good.append(json.dumps(row).encode())
        kept.append(number)
    if not good:
        return pa.table({}), np.array(kept, dtype=np.int64), malformed
    return _arrow_json(b"\n".join(good), list(texts.items())), np.array(kept, dtype=np.int64), malformed


def _arrow_json(block: bytes, texts: list[tuple[str, pa.DataType]]) -> pa.Table:
    return pa.json.read_json(
        pa.BufferReader(block),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=pa.json.ParseOptions(explicit_schema=pa.schema(texts)),
    )


def _parsed(line: bytes, number: type[str] | type[float] = str) -> object:
    """The value of a JSON line, fractions as written or as floats; None if it is malformed."""
    try:
        return json.loads(line, parse_float=number, parse_constant=number)
    except (ValueError, RecursionError):
        return None


def _line_blocks(stream: pa.NativeFile) -> Iterator[list[bytes]]:
    """Lines that are not blank, a bounded number of bytes at a time."""
    rest = b""
    while chunk := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _BLOCK_BYTES:
            raise UnreadableFileError(f"a line is longer than {_BLOCK_BYTES >> 20} MB")
        if lines := [line for line in lines if line.strip()]:
            yield lines
    if rest.strip():
        yield [rest]


def _open(unit: ReadUnit) -> pa.NativeFile:
    return pa.input_stream(unit.path, compression="gzip" if unit.gzipped else None)


def _numbered(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    return rows.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias(ROW))


def _malformed(rows: list[tuple[int, str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"row": pl.Int64, "reason": pl.String, "raw": pl.String}, orient="row")


@contextmanager
def _or_unreadable() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise UnreadableFileError("its header is not UTF-8 text") from error
    except csv.Error as error:  # a field beyond its limit
        raise UnreadableFileError("a quotation mark in its header is never closed") from error
    except (pa.ArrowException, OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        said = " ".join(str(error).split())[:300]
        if "straddl" in said:
            said = f"a line is longer than {_BLOCK_BYTES >> 20} MB, or a quotation mark is never closed"
        raise UnreadableFileError(said or type(error).__name__) from error


@contextmanager
def _or_input_error(path: str) -> Iterator[None]:
    try:
        with _or_unreadable():
            yield
    except UnreadableFileError as error:
        raise InputError(f"{path} cannot be read: {error}; export it again or leave it out") from error
