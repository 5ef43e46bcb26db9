"""Where every row of the logs went, and how the clicks that remained were labelled, from the run's counts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from models import features

_SPLITS = {"train": "training days", "holdout": "held-out days", "eval": "evaluation days"}
_SET_ASIDE = {"impression": "impressions: read and checked, not needed for click examples"}


def row_ledger(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The session counts as lines that add up to the rows read.

    Args:
        counts: `counts.json` of the Sessions artifact.

    Returns:
        `ledger` (lines with words, detail, rows and share of the rows read), `read`, `sum` of the lines and
        whether they are `balanced`; `rejected` by reason, largest first; `users`, `sessions`, `files`.
    """
    read = int(counts["read"])
    rejected = {reason: int(rows) for reason, rows in counts.get("rejected", {}).items()}
    lines = [(f"Kept, {_SPLITS.get(split, split)}", "", rows) for split, rows in counts["kept"].items()]
    lines.append(("Duplicates", "the same event again within seconds", counts["duplicates"]))
    for kind, rows in _by_kind(counts.get("set_aside", {})):
        lines.append((f"Set aside, {kind}", _SET_ASIDE.get(kind, ""), rows))
    lines.append(("Outside the days of this run", "", counts["outside_window"]))
    lines.append(("Rejected", "rows that could not be used; reasons below", sum(rejected.values())))
    total = sum(int(rows) for _, _, rows in lines)
    return {
        "ledger": [
            {
                "kind": "line",
                "words": words,
                "detail": detail,
                "rows": int(rows),
                "share": _share(int(rows), read),
            }
            for words, detail, rows in lines
        ],
        "read": read,
        "sum": total,
        "balanced": total == read,
        "rejected": [
            {"reason": reason, "rows": rows, "share": _share(rows, read)}
            for reason, rows in _by_kind(rejected)
        ],
        "users": counts.get("users"),
        "sessions": counts.get("sessions"),
        "files": [
            {"path": str(file["path"]), "read": int(file["read"]), "rejected": sum(file["rejected"].values())}
            for file in counts.get("files", [])
        ],
    }


def label_shares(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows, positives and the alpha histogram of every split.

    Converting rows are split into those that led to the clicked item only, to another only, and to both, by
    inclusion and exclusion from the three label totals.

    Args:
        counts: `label_counts.json` of the click examples.
    """
    shares = []
    for split in _SPLITS:
        if split not in counts:
            continue
        found = counts[split]
        caba, cabb, either = (int(found[name]) for name in (features.Y_CABA, features.Y_CABB, features.Y_ANY))
        both = caba + cabb - either
        shares.append(
            {
                "split": split,
                "clicks": int(found["clicks"]),
                "rows": int(found["rows"]),
                "immature": int(found["immature"]),
                "in_outage": int(found["in_outage"]),
                "positives": {features.Y_ANY: either, features.Y_CABA: caba, features.Y_CABB: cabb},
                "both": both,
                "only_caba": caba - both,
                "only_cabb": cabb - both,
                "purchases": int(found["purchases"]),
                "purchases_after_a_click": int(found["purchases_after_a_click"]),
                "alpha_mean": found.get("alpha_mean"),
                "alpha_histogram": [int(rows) for rows in found["alpha_histogram"]],
            }
        )
    return shares


def outage_words(counts: Mapping[str, Any], time_zone: str) -> str:
    """When the log holds no purchases though shoppers clicked, in a sentence; "" if it always does.

    Args:
        counts: `label_counts.json` of the click examples.
    """

    def local(moment: str) -> str:
        return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M}"

    if not counts["outages"]:
        return ""
    when = ", ".join(f"from {local(start)} to {local(end)}" for start, end in counts["outages"])
    left_out = sum(counts[split]["in_outage"] for split in _SPLITS if split in counts)
    return (
        f"no purchase is logged {when} ({time_zone}), though shoppers went on clicking; "
        f"{left_out:,} clicks are left out (labels.outages)"
    )


def _by_kind(rows: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((kind, int(count)) for kind, count in rows.items()), key=lambda item: (-item[1], item[0]))


def _share(rows: int, total: int) -> float | None:
    return rows / total if total else None
