import pytest
from pydantic import ValidationError

from schemas.errors import InputError
from simulator.worlds import PRESETS, World, world_named

FROZEN = {
    "default": "54acfcb42a5e47844fcd33787fb1987c914d348852c6eee28c9411611c57352d",
    "high_cabb": "54a8ccd0174d541a412f3cf910aa6cd914b8831c586e11387f5a9dd72c9a2b5a",
    "long_journeys": "ed719aea0a4baebc38e2a8cc243a01769e8904df6136411c26ba7010bb2e08a7",
    "noisy_taxonomy": "36f2ed44d2df15576f1a7a1b1a1c394ecc89a8d64eabccdcf9a5eb4c9d57c369",
    "drifted": "01026958e64c3dfdae2db85cbd68fe64484030429801e513db4b55a36475c94d",
}


def test_presets_are_frozen() -> None:
    """Models are compared on these worlds: other logs need a higher GENERATOR or a preset of a new name."""
    assert {name: world.sha256() for name, world in PRESETS.items()} == FROZEN


def test_every_setting_is_part_of_the_hash() -> None:
    assert World(seed=2).sha256() != World().sha256()
    assert World(mood_sd=0.51).sha256() != World().sha256()


def test_a_named_world_changes_only_what_is_given() -> None:
    world = world_named("long_journeys", users=7, seed=None)
    assert world == World(**{**PRESETS["long_journeys"].model_dump(), "users": 7})


def test_an_unknown_world_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown world 'atlantis': choose one of default, high_cabb"):
        world_named("atlantis")


def test_an_impossible_change_is_one_line() -> None:
    with pytest.raises(InputError, match=r"world 'drifted': .*drift_day counts from 0") as error:
        world_named("drifted", days=3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"same_leaf": 0.7, "related_leaf": 0.4},
        {"sessions_per_user": ()},
        {"sessions_per_user": (0.5, -0.5)},
        {"days": 5, "drift_day": 5},
        {"userz": 5},
    ],
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        World(**settings)
