"""Files that are not what they claim to be are refused with a reason; nothing is lost in silence."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import RawBatch, UnreadableFileError, batches, plan
from schemas.errors import InputError
from schemas.events import LogSource

ROOT = Path(__file__).resolve().parents[3]


def read(path) -> list[RawBatch]:
    source = LogSource(events=[str(path)])
    layout = layout_of(source)
    return [batch for unit in plan(source, layout) for batch in batches(unit, layout)]


@pytest.mark.parametrize("position", ["first", "last"])
def test_an_unclosed_quotation_mark_does_not_swallow_rows_in_silence(tmp_path, position):
    lines = [f"u{i},2024-05-01 10:00:00,click,p{i},note" for i in range(3000)]
    cells = lines[1500].split(",")
    cells[0 if position == "first" else -1] = '"' + cells[0 if position == "first" else -1]
    lines[1500] = ",".join(cells)
    path = tmp_path / "events.csv"
    path.write_text("\n".join(["user_id,event_time,event_type,product_id,note", *lines]) + "\n")
    with pytest.raises(UnreadableFileError, match="quotation mark is never closed"):
        read(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_blank_lines_and_a_missing_last_line_break_are_no_swallowed_rows(tmp_path, ending):
    lines = ["user_id,event_time,event_type,product_id"]
    for i in range(400):
        lines += [f"u{i},2024-05-01 10:00:00,click,p{i}", "", ""]
    path = tmp_path / "events.csv"
    path.write_bytes(ending.join(lines).rstrip().encode())
    assert sum(batch.rows.height for batch in read(path)) == 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("user_id,\xe9v\xe9nement\nu,x\n".encode("latin-1"), "header is not UTF-8"),
        ("user_id,event_time\nu,x\n".encode("utf-16"), "UTF-16"),
        (b'"user_id' + b",x" * 100_000, "header is never closed"),
        (b"\n\n", "it has none;"),
        (b'{"user_id": "u", "event_ti', 'row 1 is not a JSON object: {"user_id": "u", "event_ti;'),
        (b"{}\n", "it has none;"),
    ],
)
def test_a_file_without_a_usable_beginning_is_named(tmp_path, content, words):
    path = tmp_path / "events"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read(path)


def test_parquet_strings_stored_as_bytes_are_read_as_text(tmp_path):
    table = pa.table(
        {name: pa.array([b"one", b"two"]) for name in ("user_id", "event_time", "event_type", "product_id")}
    )
    pq.write_table(table, tmp_path / "events.parquet")
    (batch,) = read(tmp_path / "events.parquet")
    assert batch.rows["product_id"].to_list() == ["one", "two"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_header_may_be_quoted_and_follow_a_mark_and_blank_lines(tmp_path, ending):
    lines = ['\ufeff"user_id",event_time,event_type,"product_id"', "u,2024-05-01,click,p", "u,too,few"]
    path = tmp_path / "events.csv"
    path.write_bytes(ending.join(lines).encode())
    (batch,) = read(path)
    assert batch.rows["product_id"].to_list() == ["p"] and batch.malformed.height == 1


def test_a_name_of_two_lines_is_found(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text('"user\nid",event_time,event_type,product_id\nu,2024-05-01,click,p\n')
    source = LogSource(events=[str(path)], columns={"user_id": "user\nid"})
    (unit,) = plan(source, layout_of(source))
    (batch,) = batches(unit, layout_of(source))
    assert batch.rows["user\nid"].to_list() == ["u"]


REFUSED = """
import sys
from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import plan
from schemas.events import LogSource
sys.setswitchinterval(10)  # nothing but the end of Python stops this thread for one of Arrow's
source = LogSource(events=sys.argv[1:])
try:
    plan(source, layout_of(source))
except ValueError:
    sys.exit(2)
"""


def test_python_may_end_as_soon_as_a_csv_file_is_refused(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user_id,event_time\n1,2\n")
    tries = [subprocess.Popen([sys.executable, "-c", REFUSED, path], cwd=ROOT) for _ in range(4)]
    assert [each.wait() for each in tries] == [2] * 4
