"""`cabb attribution` on a file of journeys and on a simulated store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.commands.attribution import attribution
from schemas.errors import InputError


@pytest.fixture
def journeys(tmp_path: Path) -> Path:
    """Displays in no order; those of campaign c lead to conversions."""
    rng = np.random.default_rng(0)
    size = rng.integers(1, 5, 400)
    journey = np.repeat(np.arange(400), size)
    campaign = rng.choice(list("abc"), len(journey))
    helped = np.bincount(journey, campaign == "c") > 0
    converted = rng.random(400) < np.where(helped, 0.5, 0.05)
    rows = pl.DataFrame(
        {
            "journey": journey,
            "user": journey // 2,
            "campaign": campaign,
            "time": rng.integers(0, 10**6, len(journey)),
            "converted": converted[journey].astype(int),
        }
    )
    path = tmp_path / "journeys.csv"
    rows.sample(fraction=1, shuffle=True, seed=1).write_csv(path)
    return path


def run(*arguments: str):
    return CliRunner().invoke(attribution, arguments, catch_exceptions=False)


def test_a_file_of_journeys(journeys: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    few = "attribution.mta={folds: 2, attention: {units: 8, epochs: 12}}"
    arguments = ["--journeys", str(journeys), "--column", "channel=campaign", "--output", str(output)]
    done = run(*arguments, "--set", few)
    assert done.exit_code == 0 and "Positive clicks by view" in done.output
    results = json.loads((output / "attribution.json").read_text())
    assert {each.name for each in output.iterdir()} == {"attribution.html", "attribution.json"}
    assert results["mta"]["auc"] > 0.6
    channel = {row["value"]: row["shares"] for row in results["credit"][1]["rows"]}
    assert channel["c"]["mta"]["value"] > channel["c"]["linear"]["value"] + 0.1
    before = (output / "attribution.html").read_bytes()
    run(*arguments, "--set", few)
    assert (output / "attribution.html").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--column": "channel=nope"}, "no column 'nope'"),
        ({"--column": "chanel=campaign"}, "no journey column 'chanel'"),
        ({"--column": "campaign"}, "NAME=COLUMN"),
        ({"--journeys": "nowhere.parquet"}, "nowhere.parquet"),
        ({"--journeys": "journeys.txt"}, ".csv"),
        ({"--run": "somewhere"}, "one place only"),
    ],
)
def test_mistakes_are_refused_in_one_line(journeys: Path, tmp_path: Path, change, words) -> None:
    given = {"--journeys": str(journeys), "--output": str(tmp_path / "out"), **change}
    with pytest.raises(InputError, match=words.replace(".", r"\.")) as error:
        run(*(each for pair in given.items() for each in pair))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_unusable_values_are_refused(tmp_path: Path) -> None:
    good = {"journey": [1, 1], "user": [1, 1], "channel": ["a", "b"], "time": [1, 2], "converted": [1, 1]}
    for change, words in (
        ({"converted": [2, 2]}, "converted 0 or 1"),
        ({"time": ["a", "b"]}, "time must be"),
        ({"channel": ["a", None]}, "lacks a value"),
        ({"converted": [0, 0]}, "no journey converted"),
    ):
        path = tmp_path / "bad.parquet"
        pl.DataFrame({**good, **change}).write_parquet(path)
        with pytest.raises(InputError, match=words):
            run("--journeys", str(path), "--output", str(tmp_path / "out"))


@pytest.mark.slow
def test_a_simulated_store_and_its_truth(tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run("--users", "1500", "--output", str(output), "--set", "attribution.mta={folds: 2}")
    assert done.exit_code == 0, done.output
    results = json.loads((output / "attribution.json").read_text())
    assert len(results["views"]) == 6
    linear = next(row for row in results["positives"] if row["view"] == "linear")
    assert linear["ratio"]["value"] > 1.5
    assert [row["view"] for row in results["uplift"]] == results["views"]
    assert [each["dimension"] for each in results["credit"]] == [
        "position",
        "channel",
        "category",
        "relation",
    ]
