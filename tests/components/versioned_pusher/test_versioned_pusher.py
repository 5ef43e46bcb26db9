"""Pushing: whole or not at all, numbers that grow, nothing without a blessing."""

import json
import os

import pytest
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.baseline_model.choice import IN_PRODUCTION
from components.versioned_pusher import publish as publishing
from components.versioned_pusher.executor import Executor
from components.versioned_pusher.publish import publish
from schemas.errors import InputError
from schemas.lineage import LINEAGE_FILE, SCHEMA_FILE, STATISTICS_FILE, Lineage, production, versions


def copy_model(staging):
    os.makedirs(f"{staging}/variables")
    for name in ("saved_model.pb", "variables/variables.index"):
        with open(f"{staging}/{name}", "w") as file:
            file.write(name)


def push(serving, run_key, **kwargs):
    return publish(serving, Lineage(run_key=run_key), copy_model, **kwargs)


def test_versions_grow_and_know_their_parent(tmp_path):
    assert [push(tmp_path, key).number for key in "abc"] == [1, 2, 3]
    assert production(tmp_path).lineage.parent_version == 2
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == [
        LINEAGE_FILE.parent.name,
        "saved_model.pb",
        "variables",
    ]


def test_a_deleted_number_does_not_come_back(tmp_path):
    push(tmp_path, "a")
    removed = push(tmp_path, "b")
    for path, _, files in os.walk(removed.path, topdown=False):
        for name in files:
            os.remove(os.path.join(path, name))
        os.rmdir(path)
    assert push(tmp_path, "c").number == 3
    assert production(tmp_path).lineage.parent_version == 1


def test_the_same_run_is_not_pushed_twice(tmp_path):
    first = push(tmp_path, "a")
    before = (first.path / LINEAGE_FILE).stat().st_mtime_ns
    again = push(tmp_path, "a")
    assert again.number == 1 and len(versions(tmp_path)) == 1
    assert (first.path / LINEAGE_FILE).stat().st_mtime_ns == before


def test_a_version_pushed_since_the_run_began_stops_the_push(tmp_path):
    push(tmp_path, "a")
    with pytest.raises(InputError, match="judged against version 0; run again"):
        publish(tmp_path, Lineage(run_key="b", production_at_start=0), copy_model)
    assert publish(tmp_path, Lineage(run_key="b", production_at_start=1), copy_model).number == 2


def test_statistics_are_kept_for_the_next_drift_check(tmp_path):
    pushed = push(tmp_path, "a", extra={STATISTICS_FILE: b"figures"})
    assert (pushed.path / STATISTICS_FILE).read_bytes() == b"figures"
    assert production(tmp_path).statistics.read_bytes() == b"figures"
    assert push(tmp_path, "b").statistics is None


@pytest.mark.parametrize("step", ["copy", "write_through", "rename"])
def test_killed_in_the_middle_leaves_no_version(tmp_path, monkeypatch, step):
    push(tmp_path, "a")

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if step == "write_through":
            patch.setattr(publishing, "_write_through", die)
        if step == "rename":
            patch.setattr(publishing.os, "rename", die)

        def copy(staging):
            copy_model(staging)
            if step == "copy":
                die()

        with pytest.raises(Killed):
            publish(tmp_path, Lineage(run_key="b"), copy)
    assert [v.number for v in versions(tmp_path)] == [1]

    resumed = push(tmp_path, "b")
    assert resumed.number > 1 and (resumed.path / "saved_model.pb").is_file()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(publishing.STAGING_PREFIX)] == []


def test_a_version_somebody_else_made_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    push(tmp_path, "a")
    monkeypatch.setattr(publishing, "next_number", lambda _: 1)
    with pytest.raises(OSError):
        push(tmp_path, "b")
    assert production(tmp_path).lineage.run_key == "a"


def test_everything_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    order, synced, rename = [], publishing._sync, os.rename
    monkeypatch.setattr(publishing, "_sync", lambda p: (order.append(os.path.basename(p)), synced(p))[1])
    monkeypatch.setattr(publishing.os, "rename", lambda a, b: (order.append("RENAME"), rename(a, b))[1])
    push(tmp_path, "a", extra={STATISTICS_FILE: b"x"})
    before = order[: order.index("RENAME")]
    assert {"saved_model.pb", "variables.index", LINEAGE_FILE.name, STATISTICS_FILE.name} <= set(before)
    assert order[-1] == tmp_path.name


def test_object_stores_are_refused():
    with pytest.raises(InputError, match="mounted"):
        push("gs://bucket/serving", "a")


@pytest.fixture
def execute(tmp_path):
    """Runs the executor over artifacts made by hand; returns the pushed model."""
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    copy_model(f"{model.uri}/Format-Serving")
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    statistics.split_names = artifact_utils.encode_split_names(["eval", "train"])
    found = statistics_pb2.DatasetFeatureStatisticsList()
    found.datasets.add(num_examples=77)
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    (tmp_path / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(found.SerializeToString())
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text('default_environment: "TRAINING"')

    def run(blessed=True, infra_blessed=None, judged_against=None, **lineage):
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / "blessing")
        blessing.set_int_custom_property("blessed", int(blessed))
        inputs = {
            "model": [model],
            "model_blessing": [blessing],
            "statistics": [statistics],
            "schema": [schema],
        }
        if judged_against is not None:
            baseline = standard_artifacts.Model()
            baseline.set_int_custom_property(IN_PRODUCTION, judged_against)
            inputs["baseline"] = [baseline]
        if infra_blessed is not None:
            infra = standard_artifacts.InfraBlessing()
            infra.set_int_custom_property("blessed", int(infra_blessed))
            inputs["infra_blessing"] = [infra]
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(tmp_path / "serving")
        Executor().Do(
            inputs,
            {"pushed_model": [pushed]},
            {
                "push_destination": json_format.MessageToJson(destination),
                "lineage": Lineage(**{"run_key": "a", **lineage}).to_json(),
                "serving_state": "",
                "code_hash": "",
            },
        )
        return pushed

    return run


def test_blessed_model_is_pushed_with_its_lineage(execute, tmp_path):
    pushed = execute(train_end="2024-03-01", created="2024-04-01T00:00:00", git_commit="abc")
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving" / "1")
    lineage = production(tmp_path / "serving").lineage
    assert (lineage.version, lineage.parent_version, lineage.train_end) == (1, None, "2024-03-01")
    assert lineage.created == "2024-04-01T00:00:00" and len(lineage.schema_hash) == 64
    assert json.loads((tmp_path / "pushed" / LINEAGE_FILE.name).read_text())["version"] == 1
    kept = statistics_pb2.DatasetFeatureStatisticsList()
    kept.ParseFromString(production(tmp_path / "serving").statistics.read_bytes())
    assert kept.datasets[0].num_examples == 77
    assert "TRAINING" in (tmp_path / "serving" / "1" / SCHEMA_FILE).read_text()


@pytest.mark.parametrize("verdicts", [{"blessed": False}, {"blessed": True, "infra_blessed": False}])
def test_nothing_is_pushed_without_every_blessing(execute, tmp_path, verdicts):
    pushed = execute(**verdicts)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_push_is_refused_when_the_baseline_is_no_longer_in_production(execute, tmp_path):
    execute(judged_against=0)
    assert production(tmp_path / "serving").lineage.production_at_start == 0
    with pytest.raises(InputError, match=r"version 1 came into production.*judged against version 0"):
        execute(judged_against=0, run_key="b")
    assert execute(judged_against=1, run_key="b").get_string_custom_property("pushed_version") == "2"


def test_both_blessings_push(execute):
    assert execute(blessed=True, infra_blessed=True).get_int_custom_property("pushed") == 1
