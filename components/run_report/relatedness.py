"""What the report shows of category similarity: a heat map in clustered order and the closest relations."""

from typing import Any

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from components.category_similarity.similarity import SimilarityTable
from components.run_report.judgement import ReportSettings


def relatedness(table: SimilarityTable, settings: ReportSettings) -> dict[str, Any]:
    """The best supported leaves among each other, and the most related to each of the very best supported.

    Ties in support go by name, so the choice is the same in every run.
    """
    supported = np.lexsort((np.arange(len(table.leaves)), -table.users))
    chosen = [str(table.leaves[at]) for at in supported[: settings.heat_map_leaves]]
    matrix = _matrix(table, chosen)
    order = _clustered(matrix)
    learned = table.meta.get("settings", {})
    return {
        "scheme": learned.get("scheme"),
        "words": table.settings.in_words(),
        "unit": learned.get("unit", "user"),
        "leaves": len(table.leaves),
        "pairs": len(table.i),
        "heat_map": {
            "leaves": [chosen[at] for at in order],
            "matrix": [[round(float(matrix[i, j]), 6) for j in order] for i in order],
        },
        "top": [
            {
                "leaf": leaf,
                "support": int(table.users[at]),
                "related": [
                    {"leaf": other.leaf, "cosine": round(float(other.cosine), 6)}
                    for other in table.top(leaf, settings.related_per_leaf)
                ],
            }
            for leaf, at in zip(chosen, supported[: settings.related_leaves], strict=False)
        ],
    }


def _matrix(table: SimilarityTable, leaves: list[str]) -> np.ndarray:
    size = len(leaves)
    pairs = table.lookup(np.repeat(np.array(leaves, dtype=object), size), leaves * size)
    return pairs.astype(np.float64).reshape(size, size)


def _clustered(matrix: np.ndarray) -> list[int]:
    """Order in which similar leaves stand side by side: average linkage on 1 - S, optimal leaf order."""
    size = len(matrix)
    if size < 3:
        return list(range(size))
    distance = 1.0 - matrix
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    tree = hierarchy.optimal_leaf_ordering(hierarchy.average(condensed), condensed)
    return [int(at) for at in hierarchy.leaves_list(tree)]
