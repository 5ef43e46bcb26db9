"""The compiled pipeline, executed task by task as containers would be, gives what the local runner gives."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.settings import MODELS
from pipeline.config import Config
from pipeline.kubeflow import rules, spec
from pipeline.kubeflow.arguments import complete_arguments
from pipeline.kubeflow.parameters import READS_SERVING_DIR
from pipeline.kubeflow.run_local import LocalExecution, TaskEnd, TaskFailed
from pipeline.run_inputs import logs
from schemas.errors import InputError
from schemas.lineage import production
from tests.end_to_end.conftest import GoodRun
from tests.end_to_end.small_runs import config_at, run

pytestmark = pytest.mark.slow

IMAGE = "registry.example/cabb@sha256:" + "a" * 64


def config_below(folder: Path, **settings: object) -> Config:
    """The shared run's settings, with logs of its own: the same world gives the same bytes."""
    kubeflow = {
        "kubeflow.pipeline_root": "s3://bucket/cabb",
        "kubeflow.serving_dir": str(folder / "kubeflow-serving"),
        "kubeflow.volumes": {"cabb": str(folder)},
    }
    return config_at(folder / "local", **{**kubeflow, **settings})


def compiled(config: Config, path: Path, **options: str) -> spec.CompiledPipeline:
    from pipeline.kubeflow.runner import compile_pipeline

    path.write_text(compile_pipeline(config, IMAGE, "oss", **options).to_yaml())
    pipeline = spec.load(path)
    assert rules.check(pipeline, "oss", {"data_fingerprint": "0123"}) == []
    return pipeline


def execute(
    pipeline: spec.CompiledPipeline, root: Path, name: str, workers: int = 1
) -> tuple[dict, list[TaskEnd]]:
    """Results of a run, and how its tasks ended."""
    ended: list[TaskEnd] = []
    execution = LocalExecution(
        pipeline,
        root / name,
        complete_arguments(pipeline, {}),
        oss=True,
        cache=root / ".cache",
        workers=workers,
        ends=ended.append,
    )
    page = Path(execution.run()["RunReport", "page"][0]["uri"])
    return json.loads((page / "results.json").read_text()), ended


def below(name: str, pipeline: spec.CompiledPipeline) -> set[str]:
    """Every task that depends on one."""
    found = {each.name for each in pipeline.tasks().values() if name in each.upstream}
    return found.union(*(below(each, pipeline) for each in found))


def differences(ours: object, theirs: object, where: str = "") -> list[str]:
    """Where two trees of JSON differ: numbers by more than rounding, everything else at all.

    TensorFlow's threads and Beam's bundles add up in the order they arrive, which moves the eighth digit.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [each for key in ours for each in differences(ours[key], theirs[key], f"{where}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [each for at, pair in pairs for each in differences(*pair, f"{where}[{at}]")]
    if isinstance(ours, float) and isinstance(theirs, float):
        return [] if ours == pytest.approx(theirs, rel=1e-6, abs=1e-6) else [f"{where}: {ours} != {theirs}"]
    return [] if ours == theirs else [f"{where}: {ours!r} != {theirs!r}"]


def test_a_difference_above_rounding_is_seen() -> None:
    tree = {"ne": 0.9, "rows": 3, "bins": [{"words": "a tie", "auc": None}]}
    assert differences(tree, {**tree, "ne": 0.9 + 1e-8}) == []
    assert differences(tree, {**tree, "ne": 0.90001}) == [".ne: 0.9 != 0.90001"]
    assert differences(tree, {**tree, "rows": 4}) == [".rows: 3 != 4"]
    assert differences(tree, {**tree, "bins": [{"words": "worse", "auc": None}]})
    assert differences(tree, {**tree, "bins": []}) and differences(tree, {**tree, "more": 1})


def assert_same(ours: dict, theirs: dict) -> None:
    assert differences(ours["heads"], theirs["heads"]) == []
    assert differences(ours["verdict"]["checks"], theirs["verdict"]["checks"]) == []
    assert ours["verdict"]["state"] == theirs["verdict"]["state"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubeflow")
    logs(config_below(folder))
    return folder


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[spec.CompiledPipeline, dict, list[TaskEnd]]:
    pipeline = compiled(config_below(folder), folder / "first.yaml")
    return pipeline, *execute(pipeline, folder / "root", "first")


def test_metrics_verdict_and_lineage_are_the_local_runners(
    folder: Path, first: tuple[spec.CompiledPipeline, dict, list[TaskEnd]], good: GoodRun
) -> None:
    pipeline, there, ended = first
    assert {each.state for each in ended} == {"succeeded"} and len(ended) == len(pipeline.tasks())
    assert_same(there, good.result.results)

    config = config_below(folder)
    version = production(Path(config.kubeflow.serving_dir) / config.name)
    assert version is not None and version.lineage is not None
    facts, arguments = version.lineage, complete_arguments(pipeline, {})
    assert (facts.run_id, facts.image, facts.production_at_start) == ("first", IMAGE, 0)
    assert facts.data_fingerprint == facts.arguments["data_fingerprint"] == arguments["data_fingerprint"]
    unlike = {"arguments", "created", "data_fingerprint", "image", "metrics", "run_id", "run_key"}
    assert facts.model_dump(exclude=unlike) == good.lineage.model_dump(exclude=unlike)
    assert facts.metrics.keys() == good.lineage.metrics.keys() and facts.created


def test_click_examples_are_the_local_runners_byte_by_byte(
    folder: Path, first: tuple[spec.CompiledPipeline, dict, list[TaskEnd]], good: GoodRun
) -> None:
    (here,) = (good.config.output / "artifacts/SimilarityTransform/examples").iterdir()
    there = folder / "root/first/SimilarityTransform/examples"
    shards = sorted(each.relative_to(there) for each in there.glob("Split-*/*.gz"))
    assert shards == sorted(each.relative_to(here) for each in here.glob("Split-*/*.gz")) != []
    assert [each for each in shards if (here / each).read_bytes() != (there / each).read_bytes()] == []


def test_a_planted_model_is_blocked_and_all_before_it_is_cached(
    folder: Path, first: tuple[spec.CompiledPipeline, dict, list[TaskEnd]]
) -> None:
    config = config_below(folder)
    pipeline = compiled(config, folder / "bad.yaml", run_fn="tests.end_to_end.planted.nan_run_fn")
    results, ended = execute(pipeline, folder / "root", "planted")
    asked_again = {each.name for each in ended if each.state == "succeeded"}
    assert asked_again == set(READS_SERVING_DIR) | {"Trainer"} | below("Trainer", pipeline)
    assert not results["verdict"]["pushed"]
    failed = {each["output"] for each in results["verdict"]["checks"] if not each["passed"]}
    assert {"p_caba", "p_cabb", "p_conversion"} <= failed
    assert production(Path(config.kubeflow.serving_dir) / config.name).lineage.run_id == "first"


@pytest.mark.kubeflow
@pytest.mark.parametrize("model", [each for each in MODELS if each != "cabb"])
def test_every_other_model_kind_gives_what_the_local_runner_gives(folder: Path, model: str) -> None:
    """Both ways at the same time. Every kind has versions of its own; tasks that it shares with others, the
    cache of the compiled pipeline answers."""
    config = config_below(folder, name=model, model=model, **{"attribution.look_back_days": 1})
    pipeline = compiled(config, folder / f"{model}.yaml")
    with ThreadPoolExecutor(1) as pool:
        cluster = pool.submit(execute, pipeline, folder / "root", model)
        here, printed = run(config)
        there, _ = cluster.result()
    assert here.results, f"{here.message}\n{printed}"
    assert_same(there, here.results)


def test_changed_logs_miss_the_cache_and_a_stale_fingerprint_is_refused(
    folder: Path, first: tuple[spec.CompiledPipeline, dict, list[TaskEnd]]
) -> None:
    pipeline = first[0]
    before = complete_arguments(pipeline, {})["data_fingerprint"]
    log = next((folder / "local/store/events").glob("*.parquet"))
    os.utime(log, ns=(0, 0))
    after = complete_arguments(pipeline, {})["data_fingerprint"]
    assert after != before
    with pytest.raises(InputError, match=f"data_fingerprint={after}"):
        complete_arguments(pipeline, {"data_fingerprint": before})
    # The task that reads the logs is asked again, and says in its log what stops it.
    log.write_bytes(b"no parquet")
    with pytest.raises(TaskFailed, match="SessionExampleGen") as error:
        execute(pipeline, folder / "root", "changed")
    assert "log.txt" in str(error.value)
