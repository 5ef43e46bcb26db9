"""The whole pipeline on a small simulated store, through the functions behind `cabb run`."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from pipeline.local_run import Outcome
from schemas.errors import InputError
from tests.end_to_end.conftest import GoodRun
from tests.end_to_end.small_runs import cached_nodes, pushed_versions, run

pytestmark = pytest.mark.slow


def test_a_run_killed_in_the_middle_resumes(good: GoodRun) -> None:
    assert not good.pushed_before
    assert {"SessionExampleGen", "CategorySimilarity", "SimilarityTransform"} <= set(
        cached_nodes(good.printed)
    )
    assert "Trainer" not in cached_nodes(good.printed)


def test_a_good_model_is_pushed_and_scores(good: GoodRun) -> None:
    import tensorflow as tf

    config, result = good.config, good.result
    (version,) = pushed_versions(config)
    model = tf.saved_model.load(str(config.output / "serving" / config.name / version))
    shards = tf.io.gfile.glob(str(config.output / "artifacts/SimilarityTransform/examples/*/Split-eval/*.gz"))
    examples = tf.data.TFRecordDataset(shards, compression_type="GZIP").batch(64).take(1).get_single_element()
    scores = model.signatures["serving_default"](examples=examples)
    for name in ("p_caba", "p_cabb", "p_conversion"):
        values = scores[name].numpy()
        assert values.shape == (64, 1)
        assert ((values > 0) & (values < 1)).all()
        assert values.std() > 0
    assert result.report.read_text().startswith("<!doctype html>")


def test_the_pushed_model_is_served_and_scores_clicks_of_a_user(good: GoodRun) -> None:
    from components.serving_validator.check import in_process
    from components.serving_validator.warmup import raw_columns, read_examples
    from pipeline.commands.score import user_columns
    from serving.client import Client
    from serving.process import ServerProcess
    from serving.requests import features_of_export

    config = good.config
    home = config.output / "serving" / config.name
    version = home / pushed_versions(config)[-1]
    (eval_split,) = (config.output / "artifacts").glob("SimilarityTransform/examples/*/Split-eval")
    examples = read_examples(eval_split, 200)
    columns = raw_columns(examples, features_of_export(version))
    expected = in_process(version, examples)
    log = pl.read_parquet(config.output / "store/events/*.parquet")
    user, product, last = log.sort("event_time").select("user_id", "product_id", "event_time").row(-1)
    with ServerProcess(config.name, home) as server, Client(server.address, config.name, None, 30) as client:
        assert not server.errors
        for name, values in client.score(columns).items():
            np.testing.assert_allclose(values, expected[name], atol=1e-5)
        live = user_columns(user, [product, "unheard-of"], last.replace(tzinfo=None), [], home)
        assert live["user_clicks"][0] > 0
        scored = client.score(live)["p_conversion"]
    assert scored.shape == (2,) and ((scored > 0) & (scored < 1)).all()


def test_one_click_is_explained(good: GoodRun) -> None:
    from click.testing import CliRunner

    from pipeline.commands.explanations.example import command

    config = good.config
    latest = str(config.output / "runs" / "latest")
    asked = CliRunner().invoke(command, ["--run", latest, "--row", "3"], catch_exceptions=False)
    assert asked.exit_code == 0
    for words in (
        "What was known",
        "alpha",
        "weight in the CABB loss",
        "p_conversion",
        "times the base rate",
    ):
        assert words in asked.output
    missing = CliRunner().invoke(command, ["--run", latest, "--row", "999999999"])
    assert isinstance(missing.exception, InputError)


def test_every_row_of_the_logs_is_accounted_for(good: GoodRun) -> None:
    config = good.config
    (path,) = (config.output / "artifacts").glob("SessionExampleGen/sessions/*/counts.json")
    counts = json.loads(path.read_text())
    rows = pl.scan_parquet(config.output / "store/events/*.parquet").select(pl.len()).collect().item()
    parts = [counts["kept"], counts["set_aside"], counts["rejected"]]
    assert counts["read"] == rows
    accounted = sum(sum(each.values()) for each in parts) + counts["duplicates"] + counts["outside_window"]
    assert accounted == rows


def test_an_identical_run_is_answered_by_the_cache(good: GoodRun) -> None:
    config, first = good.config, good.result
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED
    assert len(cached_nodes(printed)) == 15, printed
    assert result.report.read_bytes() == first.report.read_bytes()
    assert len(pushed_versions(config)) == 1


def test_a_push_into_a_removed_serving_directory_is_made_again(good: GoodRun) -> None:
    config = good.config
    shutil.rmtree(config.output / "serving")
    result, printed = run(config)
    assert result.outcome is Outcome.PUSHED, f"{result.message}\n{printed}"
    assert len(pushed_versions(config)) == 1
    assert "Trainer" in cached_nodes(printed)


@pytest.mark.parametrize("planted", ["noise_run_fn", "nan_run_fn"])
def test_a_planted_model_is_blocked_in_words(good: GoodRun, planted: str) -> None:
    config = good.config
    before = pushed_versions(config)
    result, printed = run(config, run_fn=f"tests.end_to_end.planted.{planted}")
    assert result.outcome is Outcome.BLOCKED, f"{result.message}\n{printed}"
    failed = [each for each in result.results["verdict"]["checks"] if not each["passed"]]
    assert {"p_caba", "p_cabb", "p_conversion"} <= {each["output"] for each in failed}
    assert all(each["words"] for each in failed)
    assert pushed_versions(config) == before
