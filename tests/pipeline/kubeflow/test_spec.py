"""Compiled files are read strictly."""

from pathlib import Path

import pytest
import yaml

from pipeline.kubeflow import spec
from schemas.errors import InputError
from tests.pipeline.kubeflow.compiled import document, pipeline


def write(path: Path, *documents: dict) -> Path:
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_a_file_is_read_with_its_volumes(tmp_path: Path) -> None:
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    read = spec.load(write(tmp_path / "p.yaml", document(), platform))
    assert read.name == "cabb" and read.platform == platform
    order = read.sorter()
    assert order.get_ready() == ("SessionExampleGen",)
    order.done("SessionExampleGen")
    assert order.get_ready() == ("Trainer",)


def test_an_unknown_key_is_refused_where_it_stands(tmp_path: Path) -> None:
    for change in (
        lambda d: d["root"]["dag"]["tasks"]["Trainer"].update(retries=3),
        lambda d: d["deploymentSpec"]["executors"]["Trainer_executor"]["container"].update(cpu=3),
    ):
        changed = document()
        change(changed)
        with pytest.raises(InputError, match=r"p\.yaml: .*(retries|cpu)"):
            spec.load(write(tmp_path / "p.yaml", changed))


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml", document())
    path.write_text(path.read_text() + "schemaVersion: 2.1.0\n")
    with pytest.raises(InputError, match="'schemaVersion' is there twice"):
        spec.load(path)


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        spec.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="cabb kubeflow compile"):
        spec.load(tmp_path / "list.yaml")


def test_a_task_that_waits_for_nobody_is_named() -> None:
    changed = document()
    changed["root"]["dag"]["tasks"]["Trainer"]["dependentTasks"] = ["Transform"]
    with pytest.raises(InputError, match="Trainer waits for Transform"):
        pipeline(changed).sorter()
