import pytest
from pydantic import ValidationError

from schemas.errors import InputError
from simulator.worlds import PRESETS, World, world_named

FROZEN = {
    "default": "a5cdac6a3092b6d31c6b6869c1b727c357d2b6b72b3cb28610be69a4188cd6ea",
    "high_cabb": "4057e24cc9b2468cb6bfe6658950db48bb2830a806cffc8868276adcbeda048d",
    "long_journeys": "ab3e1e5489eb71a190d2dafe30637c3620c86478f5031c94a10697d3113e0eab",
    "noisy_taxonomy": "8790bf208d1b777c4e67ce5b2874eb6c636f31432c379e435b0c6a17f79702a9",
    "drifted": "ca882eee2adef199e8d300f9395c330df07d23987f1603861b324e22e0ca0eb0",
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
