"""Where every row of the logs went, and what the clicks that remained were labelled, from the counts of the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_SPLITS = {"train": "training days", "eval": "evaluation days"}
_SET_ASIDE = {"impression": "impressions: read and checked, not needed for click examples"}


def row_ledger(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The session counts as lines that add up to the rows read.

    Args:
        counts: `counts.json` of the Sessions artifact.

    Returns:
        `ledger` (lines of kind "line" with words, detail, rows and share of the rows read), `read`, `sum` of the lines
        and whether they are `balanced`; `rejected` by reason, largest first; `users`, `sessions`, `files`.
    """
    read = int(counts["read"])
    rejected = {reason: int(rows) for reason, rows in counts.get("rejected", {}).items()}
    lines = [(f"Kept, {_SPLITS.get(split, split)}", "", rows) for split, rows in counts["kept"].items()]
    lines.append(
        ("Duplicates", "the same event again within seconds, or a click's own detail view", counts["duplicates"])
    )
    for kind, rows in _by_kind(counts.get("set_aside", {})):
        lines.append((f"Set aside, {kind}", _SET_ASIDE.get(kind, ""), rows))
    lines.append(("Outside the days of this run", "", counts["outside_window"]))
    lines.append(("Rejected", "rows that could not be used; reasons below", sum(rejected.values())))
    total = sum(int(rows) for _, _, rows in lines)
    return {
        "ledger": [
            {"kind": "line", "words": words, "detail": detail, "rows": int(rows), "share": _share(int(rows), read)}
            for words, detail, rows in lines
        ],
        "read": read,
        "sum": total,
        "balanced": total == read,
        "rejected": [
            {"reason": reason, "rows": rows, "share": _share(rows, read)} for reason, rows in _by_kind(rejected)
        ],
        "users": counts.get("users"),
        "sessions": counts.get("sessions"),
        "files": [str(file) for file in counts.get("files", [])],
    }


def label_shares(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows, positives and the alpha histogram of every split.

    Converting rows are split into those that led to the clicked item only, to another only, and to both; of the three
    label totals any two and "any" give these by inclusion and exclusion.

    Args:
        counts: `label_counts.json` of the click examples.
    """
    shares = []
    for split in sorted(counts, key=lambda name: (name != "train", name)):
        found = counts[split]
        positives = {name: int(found["positives"].get(name, 0)) for name in ("y_caba", "y_cabb", "y_any")}
        histogram = [int(rows) for rows in found.get("alpha_histogram", [])]
        both = positives["y_caba"] + positives["y_cabb"] - positives["y_any"]
        shares.append(
            {
                "split": split,
                "rows": int(found["rows"]),
                "positives": positives,
                "both": both,
                "only_caba": positives["y_caba"] - both,
                "only_cabb": positives["y_cabb"] - both,
                "immature": int(found.get("immature", 0)),
                "alpha_histogram": histogram,
                "mean_alpha": _mean_of(histogram),
            }
        )
    return shares


def _mean_of(histogram: list[int]) -> float | None:
    """Mean by bin centres of equal bins on [0, 1]."""
    if not any(histogram):
        return None
    centres = (np.arange(len(histogram)) + 0.5) / len(histogram)
    return float(np.average(centres, weights=histogram))


def _by_kind(rows: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((kind, int(count)) for kind, count in rows.items()), key=lambda item: (-item[1], item[0]))


def _share(rows: int, total: int) -> float | None:
    return rows / total if total else None
