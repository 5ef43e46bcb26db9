"""Files that are not what they claim to be are refused with a reason; nothing is lost in silence."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.session_example_gen.formats import layout_of
from components.session_example_gen.readers import RawBatch, UnreadableFileError, batches, plan
from schemas.errors import InputError
from schemas.events import LogSource


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
    ],
)
def test_a_header_in_another_encoding_is_named(tmp_path, content, words):
    path = tmp_path / "events.csv"
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
