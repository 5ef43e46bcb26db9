"""Values reach their places."""

import pytest

from pipeline.kubeflow import parameters as p


def test_fill_goes_through_mappings_and_json_text() -> None:
    properties = {"a": '{"b": "{\\"c\\": 1}"}', "d": {"e": 2}}
    p.fill(properties, "a.b.c", 5)
    p.fill(properties, "d.e", 6)
    assert (p.value_at(properties, "a.b.c"), p.value_at(properties, "d.e")) == (5, 6)
    with pytest.raises(KeyError):
        p.fill(properties, "x.y", 1)
    with pytest.raises(KeyError):
        p.fill({"a": "[1]"}, "a.b", 1)


def test_names_are_unique_and_every_fill_names_a_task() -> None:
    names = [each.name for each in p.PARAMETERS]
    assert len(set(names)) == len(names)
    assert all("." in target for each in p.PARAMETERS for target in each.fills)


def test_run_keys_do_not_depend_on_the_order_of_values() -> None:
    assert (
        p.run_key("a", {"x": 1, "y": 2})
        == p.run_key("a", {"y": 2, "x": 1})
        != p.run_key("b", {"x": 1, "y": 2})
    )
