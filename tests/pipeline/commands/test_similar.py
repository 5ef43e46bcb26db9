"""`cabb similar` on a small saved table."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from components.category_similarity.item_vectors import ItemVectors
from components.category_similarity.similarity import SimilarityTable
from pipeline.commands.similar import similar
from schemas.errors import InputError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    def table(cosine: float) -> SimilarityTable:
        return SimilarityTable(
            leaves=np.array(["Garden > Mugs", "Home > Kettles", "Home > Mugs"], dtype=object),
            users=np.array([7, 1200, 40]),
            events=np.array([8, 3000, 90]),
            i=np.array([1], np.int32),
            j=np.array([2], np.int32),
            cosine=np.array([cosine], np.float32),
            both=np.array([33]),
            otherwise=0.0,
            meta={"settings": {"unit": "user", "scheme": "taxonomy_cf"}},
        )

    for execution, cosine in (("9", 0.125), ("10", 0.25)):
        table(cosine).save(tmp_path / "pipeline_root" / "CategorySimilarity" / "similarity" / execution)
    return tmp_path


def show(*arguments: str) -> str:
    result = CliRunner().invoke(similar, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_shows_the_latest_similarity_with_its_evidence(run):
    output = show("kettles", "--run", str(run))
    assert "Home > Kettles" in output and "1,200 users" in output
    assert "Home > Mugs" in output and "0.250" in output and "33" in output and "40" in output


def test_a_folder_can_be_named(run):
    folder = run / "pipeline_root" / "CategorySimilarity" / "similarity" / "9"
    assert "0.125" in show("Home > Kettles", "--similarity", str(folder))
    assert "Related to no other category" in show("garden > mugs", "--similarity", str(folder))


def test_items_have_items_beside_them(run, tmp_path):
    folder = run / "pipeline_root" / "CategorySimilarity" / "similarity" / "10"
    with pytest.raises(InputError, match="relates categories, not items"):
        show("--item", "mug", "--similarity", str(folder))
    items = ItemVectors(
        items=np.array(["kettle", "mug"], dtype=object),
        users=np.array([9, 17]),
        vectors=np.array([[1, 0], [0.6, 0.8]], np.float32),
    )
    meta = {"settings": {"scheme": "i2i", "damping": "idf"}}
    replace(SimilarityTable.load(folder), items=items, meta=meta).save(tmp_path / "items")
    output = show("--item", "mug", "--similarity", str(tmp_path / "items"))
    assert "kettle" in output and "0.600" in output and "17 users" in output
    output = show("Kettles", "--similarity", str(tmp_path / "items"))
    assert "pairs of known items by their embeddings; damping idf; shrinkage 3" in output
    with pytest.raises(InputError, match="no embedding of item 'spoon'"):
        show("--item", "spoon", "--similarity", str(tmp_path / "items"))


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ("Kettels", 'did you mean "Home > Kettles"'),
        ("Mugs", "give the whole path"),
        ("qqqqqq", "there are 3 categories"),
    ],
)
def test_an_unclear_name_is_bad_input(run, category, message):
    with pytest.raises(InputError, match=message):
        show(category, "--run", str(run))


def test_a_run_without_similarity_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="run `cabb run` first"):
        show("Mugs", "--run", str(tmp_path))
    with pytest.raises(InputError, match=r"meta\.json"):
        show("Mugs", "--similarity", str(tmp_path))


def test_needs_neither_tfx_nor_beam():
    code = (
        "import sys, pipeline.commands.similar, components.category_similarity.similarity;"
        "print([m for m in ('tfx', 'apache_beam', 'tensorflow') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
