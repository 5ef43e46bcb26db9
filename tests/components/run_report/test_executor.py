"""The component on hand-made artifacts, with two tiny SavedModels."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.category_similarity.similarity import SimilarityTable
from components.evaluator.verdict import Verdict
from models import features
from schemas.errors import InputError
from tests.components.click_examples import LEAVES, click_columns, serialized, write_examples
from tests.components.run_report.made_up_run import ANOMALIES, LABEL_COUNTS, PASSED, SESSION_COUNTS, TRAINING

pytestmark = pytest.mark.slow
ROWS = 700


@pytest.fixture(scope="module")
def columns() -> dict:
    """Eval clicks that convert more often the higher `price_to_leaf` is."""
    columns = click_columns(ROWS)
    signal = columns["price_to_leaf"]
    rng = np.random.default_rng(5)
    columns["y_caba"] = rng.random(ROWS) < np.clip(signal / 8, 0, 0.9)
    columns["y_any"] = columns["y_caba"] | columns["y_cabb"]
    return columns


def save(folder: Path, slope: float) -> str:
    from tests.components.evaluator.three_outputs import save_model

    save_model(str(folder), slope, offset=-2.0)
    return str(folder)


def test_scores_are_those_of_the_served_signature(tmp_path: Path, columns: dict) -> None:
    import tensorflow as tf

    from components.run_report import scores

    examples = write_examples(tmp_path / "examples", eval=columns)
    (shard,) = Path(examples.uri, "Split-eval").iterdir()
    candidate, baseline = save(tmp_path / "new", 0.7), save(tmp_path / "old", 0.0)
    clicks = scores.score_clicks([str(shard)], features.LABEL_OF_OUTPUT, candidate, baseline)
    served = tf.saved_model.load(candidate).signatures["serving_default"](
        examples=tf.constant(serialized(columns))
    )
    for output in features.LABEL_OF_OUTPUT:
        np.testing.assert_allclose(clicks.candidate[output], served[output].numpy()[:, 0], rtol=1e-6)
        np.testing.assert_allclose(clicks.baseline[output], 1 / (1 + np.exp(2)), rtol=1e-5)
    np.testing.assert_array_equal(clicks.labels[features.Y_ANY], columns["y_any"].astype(np.float32))
    np.testing.assert_array_equal(clicks.user.astype(str), columns["user_id"])
    np.testing.assert_array_equal(clicks.slices[features.LEAF], columns["leaf"])
    np.testing.assert_array_equal(clicks.event_time_us, columns["event_time_us"])


def test_no_eval_click_and_a_missing_label_are_told_apart(tmp_path: Path, columns: dict) -> None:
    from components.run_report import scores

    model = save(tmp_path / "new", 0.7)
    empty = write_examples(tmp_path / "empty", eval=click_columns(0))
    files = [str(p) for p in Path(empty.uri, "Split-eval").iterdir()]
    clicks = scores.score_clicks(files, features.LABEL_OF_OUTPUT, model, model)
    assert len(clicks) == 0
    assert set(clicks.candidate) == set(features.LABEL_OF_OUTPUT)
    unlabelled = {name: values for name, values in columns.items() if name != features.Y_ANY}
    examples = write_examples(tmp_path / "unlabelled", eval=unlabelled)
    with pytest.raises(InputError, match="y_any"):
        files = [str(p) for p in Path(examples.uri, "Split-eval").iterdir()]
        scores.score_clicks(files, features.LABEL_OF_OUTPUT, model)


def test_do_writes_page_and_results_that_repeat(tmp_path: Path, columns: dict, monkeypatch) -> None:
    from tfx.types import standard_artifacts
    from tfx.utils import path_utils

    from components.artifacts import AnomalyReport, RunPage, Sessions, Similarity
    from components.baseline_model.prior import save_prior
    from components.run_report import executor

    def made(kind, name: str, **files):
        artifact = kind()
        artifact.uri = str(tmp_path / name)
        Path(artifact.uri).mkdir()
        for file, content in files.items():
            Path(artifact.uri, f"{file}.json").write_text(json.dumps(content))
        return artifact

    examples = write_examples(tmp_path / "examples", train=columns, eval=columns)
    Path(examples.uri, "label_counts.json").write_text(json.dumps(LABEL_COUNTS))
    similarity = made(Similarity, "similarity")
    SimilarityTable(
        leaves=np.array(LEAVES, dtype=object),
        users=np.arange(8),
        events=np.arange(8),
        i=np.array([0], np.int32),
        j=np.array([1], np.int32),
        cosine=np.array([0.5], np.float32),
        both=np.array([3]),
        otherwise=0.0,
        meta={},
    ).save(similarity.uri)
    model, baseline = made(standard_artifacts.Model, "model"), made(standard_artifacts.Model, "baseline")
    save(Path(path_utils.serving_model_dir(model.uri)), 0.7)
    save_prior(dict.fromkeys(features.LABEL_OF_OUTPUT, 0.1), path_utils.serving_model_dir(baseline.uri))
    baseline.set_string_custom_property("kind", "production")
    baseline.set_int_custom_property("version", 3)
    baseline.set_string_custom_property("train_end", "2016-09-24")
    pushed = made(standard_artifacts.PushedModel, "pushed")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "4")
    pushed.set_string_custom_property("pushed_destination", "/serving/cabb/4")
    inputs = {
        "sessions": [made(Sessions, "sessions", counts=SESSION_COUNTS)],
        "similarity": [similarity],
        "examples": [examples],
        "anomalies": [made(AnomalyReport, "anomalies", anomalies=ANOMALIES)],
        "model": [model],
        "model_run": [made(standard_artifacts.ModelRun, "model_run", training=TRAINING, inside={})],
        "baseline": [baseline],
        "evaluation": [made(standard_artifacts.ModelEvaluation, "evaluation")],
        "blessing": [made(standard_artifacts.ModelBlessing, "blessing")],
        "infra_blessing": [made(standard_artifacts.InfraBlessing, "infra_blessing")],
        "pushed_model": [pushed],
    }
    # Reading an evaluation is the evaluator's, and tested there.
    monkeypatch.setattr(executor, "verdict", lambda uri: Verdict(True, (PASSED,)))
    properties = {
        "settings": "name: shop\nreport: {resamples: 100}\ndata: {time_zone: America/Los_Angeles}\n",
        "lineage": json.dumps({"run_key": "k1", "git_commit": None}),
        "code_hash": "c",
    }
    pages = []
    for name in ("first", "second"):
        page = made(RunPage, name)
        executor.Executor().Do(inputs, {"page": [page]}, properties)
        assert sorted(path.name for path in Path(page.uri).iterdir()) == ["report.html", "results.json"]
        pages.append([Path(page.uri, file).read_bytes() for file in ("report.html", "results.json")])
    assert pages[0] == pages[1]
    results = json.loads(pages[0][1])
    assert results["verdict"]["pushed"]
    assert results["verdict"]["version"] == 4
    assert results["baseline"]["version"] == 3
    assert results["run"] == results["run"] | {"key": "k1", "name": "shop", "eval_rows": ROWS}
    assert results["run"]["time_zone"] == "America/Los_Angeles"
    caba = next(head for head in results["heads"] if head["output"] == features.P_CABA)
    assert caba["candidate"]["auc"] > 0.6
    assert caba["baseline"]["auc"] == 0.5
    assert b"Version 3 learned from days up to 2016-09-23" in pages[0][0]

    with pytest.raises(InputError, match=r"report\.resamples"):
        executor.Executor().Do(inputs, {"page": [page]}, properties | {"settings": "report: {resamples: 1}"})


def test_component_takes_what_the_pipeline_has() -> None:
    from tfx import types
    from tfx.types import standard_artifacts

    from components import AnomalyReport, RunPage, RunReport, Sessions, Similarity

    kinds = {
        "sessions": Sessions,
        "similarity": Similarity,
        "examples": standard_artifacts.Examples,
        "anomalies": AnomalyReport,
        "model": standard_artifacts.Model,
        "model_run": standard_artifacts.ModelRun,
        "baseline": standard_artifacts.Model,
        "evaluation": standard_artifacts.ModelEvaluation,
        "blessing": standard_artifacts.ModelBlessing,
        "infra_blessing": standard_artifacts.InfraBlessing,
        "pushed_model": standard_artifacts.PushedModel,
    }
    channels = {name: types.Channel(type=kind) for name, kind in kinds.items()}
    node = RunReport(**channels, settings="name: shop\n", code_hash="c")
    assert node.outputs["page"].type is RunPage
    assert node.exec_properties["lineage"] == "{}"
