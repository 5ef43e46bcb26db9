"""Versions, production and the baseline of a serving directory."""

import shutil

import pytest

from schemas import lineage as ln
from schemas.errors import InputError


def put(root, number, key=None, parent=None, train_end="2024-03-01"):
    folder = root / str(number)
    (folder / ln.LINEAGE_FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"")
    if key:
        facts = ln.Lineage(run_key=key, version=number, parent_version=parent, train_end=train_end)
        (folder / ln.LINEAGE_FILE).write_text(facts.to_json())
    return folder


def test_production_is_the_largest_integer(tmp_path):
    assert ln.production(tmp_path / "absent") is None
    for number in (9, 10, 2):
        put(tmp_path, number, f"run {number}")
    put(tmp_path, ".staging-1")
    put(tmp_path, "010")
    assert [v.number for v in ln.versions(tmp_path)] == [2, 9, 10]
    assert ln.production(tmp_path).lineage.run_key == "run 10"


def test_baseline_of_an_identical_rerun_is_the_parent(tmp_path):
    put(tmp_path, 1, "a")
    put(tmp_path, 2, "b", parent=1)
    assert ln.baseline(tmp_path, "c").number == 2
    assert ln.baseline(tmp_path, "b").number == 1
    assert ln.baseline_state(tmp_path, "b") == "1:a"
    # "a" is not in production: it competes with what is.
    assert ln.baseline(tmp_path, "a").number == 2


def test_first_run_repeated_has_no_baseline(tmp_path):
    assert ln.baseline_state(tmp_path, "a") == "none"
    put(tmp_path, 1, "a")
    assert ln.baseline_state(tmp_path, "a") == "none"


def test_push_state_is_the_same_before_and_after_the_push_and_another_after_a_deletion(tmp_path):
    before = ln.push_state(tmp_path, "a")
    put(tmp_path, 1, "a")
    (tmp_path / ln.LAST_VERSION_FILE).write_text("1\n")
    assert ln.push_state(tmp_path, "a") == before
    assert ln.push_state(tmp_path, "b") != before
    shutil.rmtree(tmp_path / "1")
    assert ln.push_state(tmp_path, "a") != before


def test_numbers_grow_after_a_deletion(tmp_path):
    assert ln.next_number(tmp_path) == 1
    put(tmp_path, 7, "a")
    assert ln.next_number(tmp_path) == 8
    (tmp_path / ln.LAST_VERSION_FILE).write_text("12\n")
    assert ln.next_number(tmp_path) == 13
    (tmp_path / ln.LAST_VERSION_FILE).write_text("twelve")
    with pytest.raises(InputError, match="twelve"):
        ln.next_number(tmp_path)


def test_unreadable_lineage_names_file_and_field(tmp_path):
    (put(tmp_path, 3) / ln.LINEAGE_FILE).write_text('{"run_key": "a", "trained_on": 1}')
    with pytest.raises(InputError, match=r"3/assets\.extra/lineage\.json: trained_on"):
        ln.versions(tmp_path)


def test_lineage_that_is_no_text_is_one_clear_line(tmp_path):
    (put(tmp_path, 3) / ln.LINEAGE_FILE).write_bytes(b"\xff{}")
    with pytest.raises(InputError, match=r"lineage\.json: not UTF-8; move version 3 out"):
        ln.versions(tmp_path)


def test_version_of_another_tool_has_no_lineage(tmp_path):
    put(tmp_path, 4)
    assert ln.production(tmp_path).lineage is None and ln.baseline_state(tmp_path, "a") == "4:unknown"
