"""Cache keys follow the sources."""

import sys
from pathlib import Path

import pytest

from pipeline.code_hash import code_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "a_package_to_hash"
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "rules.py").write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield home
    sys.modules.pop("a_package_to_hash", None)
    code_hash.cache_clear()


def test_hash_changes_with_any_source_or_data_file(package: Path) -> None:
    before = code_hash("a_package_to_hash")
    code_hash.cache_clear()
    assert code_hash("a_package_to_hash") == before
    (package / "rules.py").write_text("LIMIT = 2\n")
    code_hash.cache_clear()
    changed = code_hash("a_package_to_hash")
    assert changed != before
    (package / "page.html").write_text("<p>")
    code_hash.cache_clear()
    assert code_hash("a_package_to_hash") != changed


def test_compiled_caches_do_not_count(package: Path) -> None:
    before = code_hash("a_package_to_hash")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "rules.cpython-311.pyc").write_bytes(b"x")
    code_hash.cache_clear()
    assert code_hash("a_package_to_hash") == before


def test_unknown_package_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        code_hash("no_such_package_anywhere")
