"""The life of versions, with loaders that only pretend."""

from __future__ import annotations

import threading

import grpc
import pytest

from serving.errors import ServingError
from serving.versions import ModelVersions, State, VersionPolicy, versions_in


class Pretended:
    def __init__(self, path, log):
        self.path, self.log = path, log

    def close(self):
        self.log.append(f"close {self.path.name}")


@pytest.fixture
def log():
    return []


@pytest.fixture
def model(tmp_path, log):
    def load(path):
        log.append(f"load {path.name}")
        if (path / "bad").exists():
            raise ServingError(grpc.StatusCode.NOT_FOUND, "broken")
        if (path / "defect").exists():
            raise ZeroDivisionError("oops")
        return Pretended(path, log)

    return ModelVersions("m", tmp_path, load)


def put(model, *numbers, mark=None):
    for number in numbers:
        (model.base_path / str(number)).mkdir()
        if mark:
            (model.base_path / str(number) / mark).touch()


def version(model, **wanted):
    with model.use(**wanted) as (number, _):
        return number


def test_the_largest_number_serves(model, log):
    put(model, 9, 10, 2)
    model.poll()
    model.poll()
    assert version(model) == 10 and log == ["load 10"]


def test_only_folders_named_by_digits_are_versions(tmp_path):
    for name in ("3", "007", "x1", "-4", ".staging-5", "1.5", "٣", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "8").touch()
    assert sorted(versions_in(tmp_path)) == [3, 7]
    assert versions_in(tmp_path / "missing") == {}


def test_a_new_version_loads_before_the_old_goes(model, log):
    put(model, 1)
    model.poll()
    put(model, 2)
    model.poll()
    assert log == ["load 1", "load 2", "close 1"]
    assert model.states()[1] == (State.END, None)


def test_a_held_version_closes_after_its_last_request(model, log):
    put(model, 1)
    model.poll()
    with model.use() as (number, loaded), model.use():
        put(model, 2)
        model.poll()
        assert number == 1 and "close 1" not in log
        assert model.states()[1][0] is State.UNLOADING
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"), model.use(1):
            pass
        assert version(model) == 2 and loaded.path.name == "1"
    assert log[-1] == "close 1" and log.count("close 1") == 1


@pytest.mark.parametrize("mark", ["bad", "defect"])
def test_a_broken_version_leaves_the_good_one(model, log, mark):
    put(model, 1)
    model.poll()
    put(model, 2, mark=mark)
    model.poll()
    model.poll()
    assert version(model) == 1
    assert log == ["load 1", "load 2"], "a failed load is not repeated while its files are the same"
    state, error = model.states()[2]
    assert state is State.END and error.message in ("broken", "ZeroDivisionError: oops")
    (model.base_path / "2" / mark).unlink()
    model.poll()
    assert version(model) == 2 and log[-2:] == ["load 2", "close 1"]


def test_rolling_back_is_removing_the_largest(model):
    put(model, 1, 2)
    model.poll()
    (model.base_path / "2").rename(model.base_path / "withdrawn")
    model.poll()
    assert version(model) == 1
    put(model, 2)
    model.poll()
    assert version(model) == 2, "a version may come back"


def test_no_versions_at_all(model):
    put(model, 1)
    model.poll()
    (model.base_path / "1").rmdir()
    model.poll()
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        version(model)


def test_labels_and_policies(model):
    put(model, 1, 2, 3)
    model.policy = VersionPolicy(specific=frozenset({1, 2, 9}))
    model.labels = {"stable": 1, "next": 3}
    model.poll()
    assert model.available() == [1, 2]
    assert version(model) == 2 and version(model, label="stable") == 1
    with pytest.raises(ServingError, match=r"Specific\(m, 3\)"):
        version(model, label="next")
    with pytest.raises(ServingError, match="Unrecognized servable version label: old"):
        version(model, label="old")
    model.policy = VersionPolicy(all=True)
    model.poll()
    assert model.available() == [1, 2, 3]
    model.policy = VersionPolicy(latest=2)
    model.poll()
    assert model.available() == [2, 3]


def test_requests_never_meet_a_closed_version(model, log):
    put(model, 1)
    model.poll()
    stop, wrong = threading.Event(), []

    def ask():
        while not stop.is_set():
            with model.use() as (_, loaded):
                name = loaded.path.name
                if f"close {name}" in log:
                    wrong.append(name)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    for number in range(2, 30):
        put(model, number)
        model.poll()
    stop.set()
    for each in threads:
        each.join()
    assert not wrong
    model.close()
    assert sum(line.startswith("close") for line in log) == 29
