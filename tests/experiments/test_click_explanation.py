"""One click of a made-up log: found by its names, with what was bought after it and why that is related."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from components.category_similarity.learning import learn_similarity
from components.category_similarity.settings import SimilaritySettings
from components.similarity_transform.labels import LabelSettings
from experiments.click_explanation import Click, find_click
from pipeline.commands.explanations.example import command
from schemas.errors import InputError
from tests.components.similarity_transform.event_streams import to_table

START = datetime(2024, 3, 8, tzinfo=UTC)
LEAF = {"kettle": "Home > Kettles", "mug": "Home > Mugs", "cup": "Home > Mugs", "robot": "Toys"}


def row(user: str, session: str, minute: int, kind: str, item: str) -> dict:
    return {
        "user_id": user,
        "session_id": session,
        "event_time": int((START + timedelta(minutes=minute)).timestamp() * 1e6),
        "event_type": kind,
        "is_click": kind == "click",
        "product_id": item,
        "item": item,
        "leaf": LEAF[item],
    }


@pytest.fixture(scope="module")
def sessions(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("sessions")
    ann = [
        row("ann", "1", 0, "click", "kettle"),
        row("ann", "1", 2, "click", "cup"),
        row("ann", "1", 5, "purchase", "mug"),
        row("ann", "1", 5, "purchase", "kettle"),
    ]
    others = [row("bob", "1", 8, "click", "mug")] + [
        row(user, "1", 9, "click", item) for user in ("bob", "eve") for item in ("kettle", "robot")
    ]
    for split, parts in (("train", (ann, others)), ("eval", ([row("bob", "2", 99_999, "click", "cup")], []))):
        (home / f"Split-{split}").mkdir()
        for number, rows in enumerate(parts):
            pq.write_table(to_table(rows), home / f"Split-{split}" / f"part-0000{number}-of-00002.parquet")
    return home


def explained(sessions: Path, settings: SimilaritySettings, *named: str) -> Click:
    return find_click(sessions, learn_similarity(sessions, settings), LabelSettings(), "UTC", *named)


def test_a_click_is_told_with_what_was_bought_after_it(sessions):
    table = learn_similarity(sessions, SimilaritySettings())
    found = explained(sessions, SimilaritySettings(), "ann", "1", "kettle")
    assert (found.leaf, found.split, found.shard) == (
        "Home > Kettles",
        "train",
        "click_examples-00000-of-00002.gz",
    )
    mug, kettle = found.bought
    assert (mug.item, mug.after_s, mug.same_item, kettle.same_item) == ("mug", 300.0, False, True)
    assert mug.relatedness == table.lookup(["Home > Kettles"], ["Home > Mugs"])[0] > 0
    assert (mug.users_a, mug.users_b, mug.both) == (3, 2, 2)
    assert mug.how == "co-engagement"
    same = explained(sessions, SimilaritySettings(), "ann", "1", "cup").bought[0]
    assert (same.relatedness, same.how) == (1.0, "same category")
    later = explained(sessions, SimilaritySettings(), "bob", "2")
    assert (later.split, later.item, later.bought) == ("eval", "cup", [])


def test_the_reason_is_that_of_the_scheme(sessions):
    def mug(**options) -> tuple[float, str]:
        bought = explained(sessions, SimilaritySettings(**options), "ann", "1", "kettle").bought[0]
        return bought.relatedness, bought.how

    whole, without = mug()[0], mug(leave_user_out=True)
    assert without[1].endswith("this user left out")
    assert without[0] != whole
    assert mug(scheme="static") == (1.0, "static scheme")
    assert mug(scheme="i2i", item_support=1, rank=2)[1] == "item embeddings"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("ann",), "2 clicks of user 'ann'; choose with --session 1 --item kettle; --session 1 --item cup"),
        (("ann", "9"), "no click of user 'ann', session '9'"),
        (("zoe",), "no user 'zoe'"),
    ],
)
def test_an_unclear_click_is_bad_input(sessions, named, message):
    with pytest.raises(InputError, match=message):
        explained(sessions, SimilaritySettings(), *named)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--row", "1", "--user", "ann"], ["--row", "1", "--item", "mug"], ["--user", "ann", "--run", "x"]],
)
def test_bad_questions_fail_before_anything_is_loaded(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, InputError)
    assert "\n" not in str(result.exception)
