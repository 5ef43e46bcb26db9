"""`cabb lineage` answers from the version's own file, and with the checks when the page is there."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.lineage import lineage
from schemas.errors import InputError
from schemas.lineage import LINEAGE_FILE, Lineage

FACTS = Lineage(
    run_key="0123456789abcdef",
    run_id="run-7",
    data_fingerprint="feed",
    config_hash="c0ffee",
    arguments={"lambda_cabb": 0.5, "events": ["/mnt/logs/*.parquet"]},
    git_commit="abc123",
    image="registry.example/cabb@sha256:1",
    train_end="2025-03-24",
    eval_start="2025-03-24",
    version=2,
    parent_version=1,
    metrics={"p_caba/normalized_entropy": 0.884, "p_caba/calibration": None},
)


def publish(home: Path, facts: Lineage | None = FACTS) -> None:
    folder = home / "2"
    (folder / LINEAGE_FILE).parent.mkdir(parents=True)
    if facts:
        (folder / LINEAGE_FILE).write_text(facts.to_json())


def ask(home: Path, *more: str) -> str:
    result = CliRunner().invoke(lineage, ["2", "--serving-dir", str(home), *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_file_alone_answers(tmp_path: Path) -> None:
    publish(tmp_path)
    said = ask(tmp_path, "--run", str(tmp_path / "none"))
    for fact in (
        "run-7",
        "2025-03-24",
        "feed",
        "abc123",
        'events=["/mnt/logs/*.parquet"], lambda_cabb=0.5',
        "registry.example",
        "version 1",
        "0.8840",
        "undefined",
    ):
        assert fact in said, said


def test_the_page_gives_the_reasons_in_words(tmp_path: Path) -> None:
    publish(tmp_path)
    page = tmp_path / ".runs/run-7"
    page.mkdir(parents=True)
    checks = [{"passed": True, "words": "NE is at most 1"}]
    verdict = {"version": 2, "sentences": ["It predicts better."], "checks": checks}
    (page / "results.json").write_text(json.dumps({"verdict": verdict}))
    said = ask(tmp_path)
    assert "passed: NE is at most 1" in said and "It predicts better." in said


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    publish(tmp_path, None)
    with pytest.raises(InputError, match="no version 9; there are: 2"):
        CliRunner().invoke(lineage, ["9", "--serving-dir", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(InputError, match=r"no lineage\.json"):
        CliRunner().invoke(lineage, ["2", "--serving-dir", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(InputError, match="--serving-dir"):
        CliRunner().invoke(lineage, ["2", "--run", str(tmp_path)], catch_exceptions=False)


def test_the_run_history_adds_the_push_and_what_it_read(tmp_path: Path) -> None:
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as pb

    publish(tmp_path / "serving/my-store")
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    text = dict.fromkeys(("push_destination", "lineage"), pb.STRING)
    pusher = store.put_execution_type(pb.ExecutionType(name="Pusher", properties=text))
    model = store.put_artifact_type(pb.ArtifactType(name="Model"))
    for key in (FACTS.run_key, "of another run"):
        (read,) = store.put_artifacts([pb.Artifact(type_id=model, uri=f"models/{key}")])
        execution = pb.Execution(type_id=pusher, last_known_state=pb.Execution.COMPLETE)
        execution.properties["push_destination"].string_value = "{}"
        execution.properties["lineage"].string_value = json.dumps({"run_key": key})
        (made,) = store.put_executions([execution])
        store.put_events([pb.Event(artifact_id=read, execution_id=made, type=pb.Event.INPUT)])
    del store
    result = CliRunner().invoke(lineage, ["2", "--run", str(tmp_path)], catch_exceptions=False)
    assert f"read models/{FACTS.run_key}" in result.output, result.output
    assert "execution 1: complete" in result.output and "another run" not in result.output
