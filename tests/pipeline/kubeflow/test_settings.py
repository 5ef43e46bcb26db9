"""Kubernetes quantities and Beam profiles."""

import pytest
from pydantic import ValidationError

from pipeline.beam_profiles import PROFILES, BeamSettings
from pipeline.kubeflow.settings import KubeflowSettings, Resources, cores, gigabytes


def test_quantities_are_numbers_too() -> None:
    assert (cores("500m"), cores("2")) == (0.5, 2.0)
    assert [gigabytes(each) for each in ("4G", "4Gi", "512Mi", "1000000000")] == [
        4.0,
        4.294967296,
        0.536870912,
        1.0,
    ]


@pytest.mark.parametrize("wrong", [{"cpu": "two"}, {"memory": "8GB"}, {"memory": "-1G"}])
def test_wrong_quantities_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Resources(**wrong)


def test_named_limits_come_before_measured_ones_before_the_default() -> None:
    own = KubeflowSettings(resources={"Trainer": Resources(cpu="8"), "default": Resources(memory="2G")})
    assert own.resources_of("Trainer").cpu == "8"
    assert own.resources_of("Transform").memory == "8G"
    assert own.resources_of("RunReport").memory == "2G"


def test_a_beam_profile_says_what_it_misses() -> None:
    with pytest.raises(ValidationError, match=r"beam\.options\.flink_master"):
        BeamSettings(profile="flink")
    flink = BeamSettings(
        profile="flink", options={"flink_master": "h:8081", "environment_config": "localhost:50000"}
    )
    assert flink.arguments()[-2:] == ["--flink_master=h:8081", "--environment_config=localhost:50000"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_names_its_runner(profile: str) -> None:
    needed = {name: "x" for name in PROFILES[profile][1]}
    (runner,) = [
        e for e in BeamSettings(profile=profile, options=needed).arguments() if e.startswith("--runner")
    ]
    assert runner != "--runner=DirectRunner"
