import numpy as np
import pytest

from simulator.taxonomy import COMPLEMENT, RELATED_FLOOR, SAME_SHELF, SEPARATOR, Taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy()


def test_leaves_are_many_deep_and_uniquely_named(taxonomy: Taxonomy) -> None:
    depths = {len(path.split(SEPARATOR)) for path in taxonomy.paths}
    assert 250 <= len(taxonomy) <= 400
    assert depths == {4, 5}
    assert len(set(taxonomy.names)) == len(taxonomy)


def test_relatedness_is_symmetric_within_bounds_and_one_on_the_diagonal(taxonomy: Taxonomy) -> None:
    related = taxonomy.relatedness
    np.testing.assert_array_equal(related, related.T)
    assert related.min() == 0 and related.max() == 1
    assert ((related == 1) == np.eye(len(taxonomy), dtype=bool)).all()


def test_planted_complements_beat_shelf_mates_and_both_count_as_related(taxonomy: Taxonomy) -> None:
    leaf = {name: i for i, name in enumerate(taxonomy.names)}
    related = taxonomy.relatedness
    assert related[leaf["Ground Coffee"], leaf["Drip Coffee Makers"]] == COMPLEMENT
    assert related[leaf["Espresso Machines"], leaf["Drip Coffee Makers"]] == SAME_SHELF
    assert related[leaf["Motor Oil"], leaf["Drip Coffee Makers"]] == 0
    assert COMPLEMENT > SAME_SHELF > RELATED_FLOOR


def test_an_unknown_complement_is_refused() -> None:
    with pytest.raises(KeyError):
        _ = Taxonomy("Home > Kitchen > Pots: Woks, Pans", "Woks: Chopsticks").relatedness
