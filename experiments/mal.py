"""Tables 2, 3 and 4 and Figures 5 and 6 of MAL 4 on other data: variants, claims, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from components.run_report import formats
from experiments import measures, report
from experiments.bootstrap import Bootstrap
from experiments.prepared import Prepared
from experiments.ranking import Change, Estimate, Truth, auc, change, gauc
from experiments.trials import Plan, Trial
from experiments.variants import Variant
from experiments.verdicts import FAILS, HOLDS, OPEN
from models import features as names

VIEWS = ("last_click", "first_click", "linear", "mta")
PRIMARIES = ("last_click", "mta")
"""Primary targets of the paper's Table 3; the first is that of all else."""

BASE, MAL, NO_CAT, SINGLE = "Base", "MAL", "MAL w/o CAT", "MAL w/o multiple attributions"
PEERS = {"Shared-Bottom": "shared_bottom", "MMoE": "mmoe", "PLE": "ple", "HoME": "home"}
ORDER = "later in the user's clicks"
"""No model: a click that came later scores higher."""

ADDED_VIEWS = {
    "First-Click": ("last_click", "first_click"),
    "Linear": ("last_click", "linear"),
    "MTA": ("last_click", "mta"),
    "First-Click & Linear & MTA": VIEWS,
}
"""Rows of Table 2: what is learned beside the primary view."""

ALIASES = {"First-Click & Linear & MTA": NO_CAT}
"""The same settings under two names."""

PAPER = {
    "2": {"First-Click": (0.18, 0.07), "Linear": (0.25, 0.09), "MTA": (0.36, 0.09)}
    | {"First-Click & Linear & MTA": (0.38, 0.14)},
    "3": {"Shared-Bottom": (0.31, 0.10), "MMoE": (0.08, 0.05), "PLE": (0.22, 0.08), "HoME": (0.08, 0.07)}
    | {MAL: (0.51, 0.14)},
    "3, MTA": {"Shared-Bottom": (0.43, 0.12), "MMoE": (0.26, 0.08), "PLE": (0.47, 0.14), "HoME": (0.28, 0.11)}
    | {MAL: (0.63, 0.21)},
    "4": {NO_CAT: (0.38, 0.14), SINGLE: (0.01, 0.00), MAL: (0.51, 0.13)},
}
"""GAUC and AUC against Base in percent, as printed; the 0.75 % of Table 3's last row is 0.63 % by its own
figures (0.7873 / 0.7824)."""

GAIN_EDGES = (1, 2, 5, 10)
"""Figure 5: users by how many positives linear credit adds to last-click in training."""

CATEGORY_CLICKS = 500
"""Figure 6: categories with fewer evaluation clicks are left out."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper about GAUC: `better` above `worse`; or, if `within`, not above it by more.

    Attributes:
        worse: several: the best of them.
        within: relative GAUC that "no better" allows; None: a plain "above".
    """

    words: str
    better: str
    worse: tuple[str, ...]
    within: float | None = None


CLAIMS = (
    Claim("MAL is above Base", MAL, (BASE,)),
    Claim("MAL is at least the best of the four peers", MAL, tuple(PEERS)),
    Claim("CAT adds to MAL", MAL, (NO_CAT,)),
    Claim("MAL w/o multiple attributions is not above Base", SINGLE, (BASE,), within=0.001),
    Claim("All views together are above the best single one", NO_CAT, ("First-Click", "Linear", "MTA")),
)


def variants(primary: str) -> dict[str, Variant]:
    """Every variant with a primary target, by its name in the tables."""

    def variant(name: str, **changes: Any) -> Variant:
        changes = {"primary_view": primary, "views": VIEWS, **changes}
        return Variant(name=f"{primary}/{name}", title=f"{name}, {primary}", changes=changes)

    found = {
        BASE: variant(BASE, model="shared_bottom", views=(primary,)),
        **{name: variant(name, model=model) for name, model in PEERS.items()},
        MAL: variant(MAL, model="mal"),
    }
    if primary == PRIMARIES[0]:
        found |= {
            NO_CAT: variant(NO_CAT, model="mal", cat_weight=0.0),
            SINGLE: variant(SINGLE, model="mal", auxiliary_labels="primary"),
            **{
                name: variant(name, model="mal", cat_weight=0.0, views=views)
                for name, views in ADDED_VIEWS.items()
                if name not in ALIASES
            },
        }
    return found


def compose(
    trials: Mapping[str, Sequence[Trial]],
    prepared: Prepared,
    plan: Plan,
    primaries: Sequence[str] = PRIMARIES,
) -> dict[str, Any]:
    """All that the page and mal.json show, as plain JSON.

    Args:
        trials: of every variant of the primary targets, by `Variant.name`.
        primaries: some of `PRIMARIES`; Tables 2 and 4 and the figures are of the first of them.
    """
    bootstrap = measures.draws(prepared, plan)
    judged = [_Judged(primary, trials, prepared, bootstrap) for primary in primaries]
    by_category = judged[0].by_category()
    return {
        **report.about(prepared, plan),
        "positives": {view: _positives(prepared, view) for view in VIEWS},
        "tables": [table for each in judged for table in each.tables()],
        "claims": [
            *(claim for each in judged for claim in each.claims()),
            *_claim_of_categories(by_category, primaries[0]),
        ],
        "by_gain": judged[0].by_gain(),
        "by_category": by_category,
    }


def _positives(prepared: Prepared, view: str) -> dict[str, Any]:
    """Table 1: clicks with credit, in training and evaluation."""
    positive = np.asarray(prepared.labels[names.credit(view)]) > 0
    train = positive[: prepared.train_rows]
    return {
        "train": int(train.sum()),
        "evaluation": int(positive.sum() - train.sum()),
        "train_share": float(train.mean()),
    }


class _Judged:
    """The variants of one primary target on the evaluation rows."""

    def __init__(
        self,
        primary: str,
        trials: Mapping[str, Sequence[Trial]],
        prepared: Prepared,
        bootstrap: Bootstrap,
    ):
        self._primary, self._prepared, self._bootstrap = primary, prepared, bootstrap
        rows = self._rows = prepared.evaluation
        _, self._user = np.unique(prepared.keys()[names.USER_ID].to_numpy(), return_inverse=True)
        credit = np.asarray(prepared.labels[names.credit(primary)][rows])
        self._truth = Truth.of(prepared.user_group[rows], self._user[rows], credit)
        self._trials = {name: trials[each.name] for name, each in variants(primary).items()}
        for alias, name in ALIASES.items():
            if name in self._trials:
                self._trials[alias] = self._trials[name]
        more = _positive(prepared, "linear").astype(np.float64) - _positive(prepared, "last_click")
        added = np.bincount(self._user[: prepared.train_rows], more, self._user.max() + 1)
        self._added = added[self._user[rows]]
        time = np.asarray(prepared.event_time[rows], np.float64)
        order = (time - time.min() + 1) / (np.ptp(time) + 2)
        self._scores = {ORDER: [order] * bootstrap.seeds} | {
            name: [each.evaluation[names.P_CONVERSION] for each in runs]
            for name, runs in self._trials.items()
        }
        self._gauc = {name: gauc(self._truth, p, bootstrap) for name, p in self._scores.items()}
        self._auc = {name: auc(self._truth, p, bootstrap) for name, p in self._scores.items()}

    def tables(self) -> list[dict[str, Any]]:
        """Table 3, and for last-click credit Tables 2 and 4."""
        if self._primary != PRIMARIES[0]:
            return [self._table("3, MTA", "MAL and its peers on data-driven credit", (BASE, *PEERS, MAL))]
        return [
            self._table("2", "What is learned beside last-click credit (without CAT)", (BASE, *ADDED_VIEWS)),
            self._table("3", "MAL and its peers on last-click credit", (BASE, *PEERS, MAL)),
            self._table("4", "What MAL consists of", (BASE, NO_CAT, SINGLE, MAL)),
        ]

    def claims(self) -> list[dict[str, Any]]:
        """The claims whose variants are trained, judged on GAUC."""
        known = [each for each in CLAIMS if {each.better, *each.worse} <= {*self._trials}]
        return [*map(self._claim, known), self._growth()]

    def _table(self, number: str, title: str, rows: Sequence[str]) -> dict[str, Any]:
        """Rows of a table with intervals, changes against Base and costs; the click order's row is last."""
        paper = PAPER[number]
        return {
            "number": number,
            "title": title,
            "primary": self._primary,
            "rows": [
                {
                    "name": name,
                    **self._described("gauc", self._gauc, name),
                    **self._described("auc", self._auc, name),
                    "coverage": self._gauc[name].coverage,
                    "paper": paper.get(name),
                    "cost": self._cost(name),
                }
                for name in (*rows, ORDER)
            ],
        }

    def _described(self, kind: str, estimates: Mapping[str, Estimate], name: str) -> dict[str, Any]:
        against = None
        if name != BASE:
            found = change(estimates[name], estimates[BASE], self._bootstrap)
            against = {"relative": found.relative, "interval": list(found.interval)}
        own = estimates[name]
        return {
            kind: {
                "value": own.value,
                "interval": list(self._bootstrap.bounds(own.draws)),
                "against": against,
            }
        }

    def _cost(self, name: str) -> dict[str, float] | None:
        """Parameters and CPU seconds of a training, and the latter against Base's; None for no model."""
        if name not in self._trials:
            return None
        seconds, base = (
            np.mean([run.cost["seconds"] for run in self._trials[each]]) for each in (name, BASE)
        )
        return {
            "parameters": self._trials[name][0].cost["parameters"],
            "seconds": float(seconds),
            "relative": float(seconds / base),
        }

    def _claim(self, claim: Claim) -> dict[str, Any]:
        """A claim about GAUC judged by the paired interval."""
        best = max(claim.worse, key=lambda name: self._gauc[name].value)
        found = change(self._gauc[claim.better], self._gauc[best], self._bootstrap)
        return {
            "words": claim.words,
            "primary": self._primary,
            "verdict": _verdict(found, claim.within),
            "why": _why(found, f"GAUC against {best}", claim.within),
        }

    def by_gain(self) -> list[dict[str, Any]]:
        """Figure 5: GAUC of Base, MAL and the click order by how many positives linear credit adds to the
        user's training clicks."""
        group = np.searchsorted(GAIN_EDGES, self._added, side="right")
        return [self._group(_gain_title(number), group == number) for number in np.unique(group)]

    def _group(self, title: str, inside: np.ndarray) -> dict[str, Any]:
        base, mal = self._gauc_of(BASE, inside), self._gauc_of(MAL, inside)
        found = change(mal, base, self._bootstrap)
        return {
            "title": title,
            "users": len(np.unique(self._truth.user[inside])),
            "clicks": int(inside.sum()),
            "coverage": base.coverage,
            "order": self._gauc_of(ORDER, inside).value,
            "base": base.value,
            "mal": mal.value,
            "relative": found.relative,
            "interval": list(found.interval),
        }

    def _gauc_of(self, name: str, inside: np.ndarray) -> Estimate:
        return gauc(self._truth.where(inside), [p[inside] for p in self._scores[name]], self._bootstrap)

    def _growth(self) -> dict[str, Any]:
        """Figure 5's claim: MAL gains more on users to whom other views add positives than on the rest."""
        changes = []
        for inside in (self._added >= GAIN_EDGES[0], self._added < GAIN_EDGES[0]):
            base, mal = self._gauc_of(BASE, inside), self._gauc_of(MAL, inside)
            changes.append((mal.value / base.value - 1, mal.draws / base.draws - 1))
        (some, some_draws), (none, none_draws) = changes
        found = Change(some - none, self._bootstrap.bounds(some_draws - none_draws))
        return {
            "words": "MAL's gain over Base is larger for users to whom other views add positives",
            "primary": self._primary,
            "verdict": _verdict(found),
            "why": _why(
                found, f"GAUC gain of {_percent(some)} with added positives, {_percent(none)} without"
            ),
        }

    def by_category(self) -> dict[str, Any]:
        """Figure 6 and Table 5: AUC of Base and MAL by category, beside the positives that linear adds."""
        category = self._prepared.categories()
        train, judged = category[: self._prepared.train_rows], category[self._rows]
        last, linear = (_positive(self._prepared, view) for view in ("last_click", "linear"))
        rows, draws = [], []
        for name in np.unique(judged):
            inside, mine = judged == name, train == name
            truth = self._truth.where(inside)
            if inside.sum() < CATEGORY_CLICKS or not 0 < truth.positive.sum() < len(truth.positive):
                continue
            base, mal = (
                auc(truth, [p[inside] for p in self._scores[each]], self._bootstrap) for each in (BASE, MAL)
            )
            found = change(mal, base, self._bootstrap)
            draws.append(mal.draws / base.draws)
            rows.append(
                {
                    "category": str(name),
                    "clicks": int(inside.sum()),
                    "added": float(linear[mine].sum() / max(last[mine].sum(), 1) - 1),
                    "base": base.value,
                    "relative": found.relative,
                    "interval": list(found.interval),
                }
            )
        correlation = None
        if len(rows) > 2:
            added = [row["added"] for row in rows]
            value = _rank_correlation(added, np.array([[row["relative"] for row in rows]]))[0]
            bounds = self._bootstrap.bounds(_rank_correlation(added, np.stack(draws, axis=1)))
            correlation = {"value": float(value), "interval": list(bounds)}
        rows.sort(key=lambda row: -row["added"])
        return {"rows": rows, "rank_correlation": correlation}


def _positive(prepared: Prepared, view: str) -> np.ndarray:
    """Which training rows the view credits, bool."""
    return np.asarray(prepared.labels[names.credit(view)][: prepared.train_rows]) > 0


def _rank_correlation(added: Sequence[float], gains: np.ndarray) -> np.ndarray:
    """Spearman's rho between the positives that views add by category, [k], and each row of gains,
    [rows, k]: [rows]."""
    mine, other = (
        rank - rank.mean(axis=-1, keepdims=True)
        for rank in (rankdata(added), rankdata(gains, axis=1, nan_policy="propagate"))
    )
    return (other @ mine) / np.sqrt((mine**2).sum() * (other**2).sum(axis=1))


def _claim_of_categories(found: Mapping[str, Any], primary: str) -> list[dict[str, Any]]:
    """Figure 6's claim; none if too few categories have enough clicks."""
    correlation = found["rank_correlation"]
    if correlation is None:
        return []
    low, high = correlation["interval"]
    shown = [formats.decimal(each, 2) for each in (correlation["value"], low, high)]
    return [
        {
            "words": "MAL gains more AUC in categories to which other views add more positives",
            "primary": primary,
            "verdict": HOLDS if low > 0 else FAILS if high < 0 else OPEN,
            "why": "Rank correlation over {} categories: {} ({} to {}).".format(len(found["rows"]), *shown),
        }
    ]


def _gain_title(number: int) -> str:
    edges = (0, *GAIN_EDGES)
    first = edges[number]
    if number == len(GAIN_EDGES):
        return f"{first} or more"
    last = edges[number + 1] - 1
    return str(first) if first == last else f"{first}-{last}"


def _verdict(found: Change, within: float | None = None) -> str:
    low, high = found.interval
    if within is not None:
        return HOLDS if high < within else FAILS if low > 0 else OPEN
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def _why(found: Change, what: str, within: float | None = None) -> str:
    low, high = found.interval
    text = f"{what}: {_percent(found.relative)} ({_percent(low)} to {_percent(high)})"
    verdict = _verdict(found, within)
    if within is not None and verdict == HOLDS:
        return f"{text}, so it is less than {_percent(within)} above."
    if verdict == OPEN:
        return f"{text}: other users or seeds could turn the sign."
    return f"{text}."


def _percent(value: float) -> str:
    return formats.change(value, 2)
