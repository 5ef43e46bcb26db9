"""Folders that can be written to, and files that are whole."""

import pytest

from schemas.errors import InputError
from schemas.output import writable, write_whole


def test_a_folder_is_judged_and_not_made(tmp_path):
    folder = tmp_path / "a" / "b"
    assert writable(folder) == folder
    assert not list(tmp_path.iterdir())
    assert writable(tmp_path) == tmp_path


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(InputError, match=f"{folder}: results cannot be written there"):
            writable(folder)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "results.json"
    assert write_whole(path, "one").read_text() == "one"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "one"
    assert write_whole(path, "two").read_text() == "two"
