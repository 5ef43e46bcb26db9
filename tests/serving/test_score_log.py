"""The score log: rows come back as tf.Examples, files are bounded, failures cost nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from components.monitoring.logged import columns_of, read_log
from schemas.errors import InputError
from serving import wire
from serving.score_log import MOMENT, PATTERN, VERSION, ScoreLog

COLUMNS = {
    "item": ["a", "b", "c"],
    "price": np.array([1.5, 2.5, -1.0], np.float32),
    "hour_of_day": 13,
    "recent_items": pa.array([["a", "b"], [], ["c"]]),
    "user_id": pa.array(["u1", "u2", "u3"]),
}
SCORES = {"p_caba": np.array([0.1, 0.2, 0.3], np.float32)}


def test_rows_come_back_as_examples(tmp_path):
    ScoreLog(tmp_path, share=1.0).write(COLUMNS, SCORES, version=7)
    examples = read_log(tmp_path)
    found = columns_of(examples, ["item", "price", "hour_of_day", "user_id", "p_caba", VERSION, "nothing"])
    assert found["item"].to_list() == ["a", "b", "c"] and found["user_id"].to_list() == ["u1", "u2", "u3"]
    assert found["price"].to_list() == [1.5, 2.5, -1.0] and found["hour_of_day"].to_list() == [13] * 3
    assert (
        found["p_caba"].to_numpy() == pytest.approx([0.1, 0.2, 0.3]) and found[VERSION].to_list() == [7] * 3
    )
    assert found["nothing"].null_count() == 3
    assert columns_of(examples, [MOMENT])[MOMENT][0] > 1.7e15
    histories = [
        list(wire.Example.FromString(e).features.feature["recent_items"].bytes_list.value) for e in examples
    ]
    assert histories == [[b"a", b"b"], [], [b"c"]]


def test_requests_are_sampled_and_their_rows_bounded(tmp_path):
    log = ScoreLog(tmp_path, share=0.3, max_rows=4, seed=1)
    columns = {"item": [f"i{i}" for i in range(50)]}
    for _ in range(200):
        log.write(columns, {"p_caba": np.zeros(50, np.float32)}, 1)
    items = columns_of(read_log(tmp_path), ["item"])["item"]
    assert 40 * 4 < len(items) < 80 * 4
    assert set(items) == {"i0", "i16", "i32", "i49"}


def test_files_rotate_and_the_oldest_go(tmp_path):
    log = ScoreLog(tmp_path, share=1.0, max_mb=0.001, files=3)
    for number in range(60):
        log.write(COLUMNS, SCORES, number)
    files = sorted(tmp_path.glob(PATTERN))
    assert len(files) == 3 and all(path.stat().st_size <= 1000 for path in files)
    assert columns_of(read_log(tmp_path), [VERSION])[VERSION].max() == 59


def test_a_record_that_was_cut_off_is_left_out(tmp_path):
    ScoreLog(tmp_path, share=1.0).write(COLUMNS, SCORES, 1)
    (path,) = tmp_path.glob(PATTERN)
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_log(tmp_path)) == 2


def test_a_full_disk_costs_the_log_only(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    log = ScoreLog(tmp_path / "file" / "folder", share=1.0)
    for _ in range(3):
        log.write(COLUMNS, SCORES, 1)
    assert caplog.text.count("scores are not logged") == 1


def test_an_empty_log_is_named(tmp_path):
    with pytest.raises(InputError, match="no scored rows"):
        read_log(tmp_path)


def test_tensorflow_reads_the_rows(tmp_path):
    import tensorflow as tf

    ScoreLog(tmp_path, share=1.0).write(COLUMNS, SCORES, 1)
    files = [str(path) for path in tmp_path.glob(PATTERN)]
    spec = {"item": tf.io.FixedLenFeature([], tf.string), "price": tf.io.FixedLenFeature([], tf.float32)}
    rows = [tf.io.parse_single_example(record, spec) for record in tf.data.TFRecordDataset(files)]
    assert pl.Series([row["price"].numpy() for row in rows]).to_list() == [1.5, 2.5, -1.0]
