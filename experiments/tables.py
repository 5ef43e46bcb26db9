"""Tables 1, 2 and 3 of CABB 4.1-4.3 on other data: their variants, their directions and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from components.category_similarity.settings import SimilaritySettings
from experiments import measures, report
from experiments.bootstrap import Difference
from experiments.measures import CABA, CABB, OVERALL, TARGETS, Measured
from experiments.prepared import Prepared
from experiments.trials import Plan, Trial
from experiments.variants import Variant
from experiments.verdicts import Claim, judge
from models import features as names

LAMBDAS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""The paper's values of lambda."""
SELECTED = 0.75
"""The paper's choice among them."""
PAPER_SCHEMES = ("static", "i2i", "taxonomy_cf")
AS_IN_THE_PAPER = {"conversion_score": "or", "alpha_share": 1.0, "action_weight": 0.0}
"""Two heads, since the any-conversion head of the product and its carts and checkouts would train the bottom
too; alpha alone weighs."""

LAST_CLICK, CABA_ONLY, ANY, TREES = "last click", "CABA only", "any conversion", "LightGBM"
OURS, SUMMED = "ours, three heads", "two heads, sum"
PURCHASES_ONLY = "ours, purchases only"


LEARNED = ("uncertainty", "bilevel")
"""Ways to learn lambda: homoscedastic uncertainty, and held-out conversions (the paper's proposal)."""


def lambda_name(value: float | str) -> str:
    """Name of a row; a learned lambda has the name of its way."""
    if isinstance(value, str):
        return f"lambda by {value}"
    return f"lambda {value:g}"


TWO_HEADS = lambda_name(SELECTED)


@dataclass(frozen=True)
class Table:
    """One table: its rows, the row that others are compared with, what the paper printed and claimed.

    Attributes:
        paper: row -> target -> the paper's NE; the other rows are references and controls.
    """

    number: int
    title: str
    question: str
    rows: tuple[str, ...]
    reference: str
    paper: dict[str, dict[str, float]]
    claims: tuple[Claim, ...]


def schemes(settings: SimilaritySettings) -> dict[str, SimilaritySettings]:
    """The similarity schemes of Table 3: the paper's and the configured one, all else as configured."""
    wanted = dict.fromkeys((*PAPER_SCHEMES, settings.scheme))
    return {name: settings.model_copy(update={"scheme": name}) for name in wanted}


def variants(available: Sequence[str], lambdas: Sequence[float] = LAMBDAS) -> dict[str, Variant]:
    """Every variant of the three tables by name.

    Args:
        available: the schemes whose alpha is prepared.
        lambdas: of Table 2; 0 and the selected one are always there.
    """

    def two_heads(name: str, title: str, value: float | str = SELECTED, **more: Any) -> Variant:
        return Variant(
            name=name,
            title=title,
            changes={"lambda_cabb": value, **AS_IN_THE_PAPER, **more.pop("changes", {})},
            **more,
        )

    found = [
        Variant(name=LAST_CLICK, title="Baseline 1: one head, last click", changes={"model": "last_click"}),
        Variant(name=CABA_ONLY, title="Baseline 2: one head, CABA only", changes={"model": "caba_only"}),
        Variant(name=ANY, title="one head on any conversion", changes={"model": "any_conversion"}),
        *(
            two_heads(lambda_name(value), f"two heads, lambda {value:g}, taxonomy + CF alpha", value)
            for value in _swept(lambdas)
        ),
        two_heads(lambda_name("uncertainty"), "two heads, lambda learned from uncertainty", "uncertainty"),
        two_heads(lambda_name("bilevel"), "two heads, lambda that held-out conversions choose", "bilevel"),
        Variant(name=OURS, title="two heads and a third on any conversion (the product)"),
        Variant(
            name=PURCHASES_ONLY,
            title="the same, carts and checkouts not learned from",
            changes={"action_weight": 0.0},
        ),
        Variant(name=TREES, title="LightGBM, one booster per label", learner="lightgbm"),
    ]
    for scheme in available:
        if scheme != "taxonomy_cf":
            found.append(two_heads(scheme, f"two heads, alpha of {scheme}", scheme=scheme))
        if scheme != "static":
            found += [
                two_heads(
                    equal(scheme),
                    f"{scheme}, lambda times mean alpha as in static",
                    scheme=scheme,
                    equal_lambda=True,
                ),
                two_heads(
                    shuffled(scheme),
                    f"{scheme}, alpha permuted among positives",
                    scheme=scheme,
                    alpha="permuted",
                ),
            ]
    return {each.name: each for each in found}


def equal(scheme: str) -> str:
    return f"{scheme}, equal lambda"


def shuffled(scheme: str) -> str:
    return f"{scheme}, permuted"


def row_of(scheme: str) -> str:
    """The variant that is a scheme's row: taxonomy_cf is the one of Tables 1 and 2."""
    return TWO_HEADS if scheme == "taxonomy_cf" else scheme


def tables(available: Sequence[str], lambdas: Sequence[float] = LAMBDAS) -> tuple[Table, ...]:
    """The paper's tables, with the rows that `variants` makes of the same arguments."""
    return (_table_1(), _table_2(_swept(lambdas)), _table_3(available))


def _swept(lambdas: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({0.0, SELECTED, *lambdas}))


def trained(chosen: Sequence[Table], known: dict[str, Variant]) -> list[Variant]:
    """The variants that some tables need."""
    wanted = {name for table in chosen for name in table.rows}
    wanted |= {name for table in chosen for claim in table.claims for pair in claim.pairs for name in pair}
    if SUMMED in wanted:
        wanted.add(TWO_HEADS)
    return [variant for name, variant in known.items() if name in wanted]


def _table_1() -> Table:
    baseline_1, baseline_2, ours = 0.575, 0.547, 0.495
    target = OVERALL.name
    return Table(
        1,
        "Overall NE",
        "Does the model with two heads predict conversions better than one that ignores click A, buy B?",
        (LAST_CLICK, CABA_ONLY, TWO_HEADS, SUMMED, OURS, PURCHASES_ONLY, ANY, TREES),
        LAST_CLICK,
        {LAST_CLICK: {target: baseline_1}, CABA_ONLY: {target: baseline_2}, TWO_HEADS: {target: ours}},
        (
            Claim(
                "Two heads have a lower overall NE than Baseline 1 (last click)",
                ((TWO_HEADS, LAST_CLICK),),
                target,
                (ours, baseline_1),
            ),
            Claim(
                "Two heads have a lower overall NE than Baseline 2 (CABA only)",
                ((TWO_HEADS, CABA_ONLY),),
                target,
                (ours, baseline_2),
            ),
            Claim(
                "Baseline 2 (CABA only) has a lower overall NE than Baseline 1 (last click)",
                ((CABA_ONLY, LAST_CLICK),),
                target,
                (baseline_2, baseline_1),
            ),
        ),
    )


def _table_2(lambdas: tuple[float, ...]) -> Table:
    caba = dict(zip(LAMBDAS, (0.398, 0.409, 0.419, 0.432, 0.451, 0.479), strict=True))
    cabb = dict(zip(LAMBDAS, (0.692, 0.651, 0.581, 0.550, 0.519, 0.505), strict=True))
    single = {CABA.name: 0.512, CABB.name: 0.643}
    name = lambda_name
    steps = tuple((name(b), name(a)) for a, b in pairwise(lambdas))
    least, most = lambdas[1], lambdas[-1]

    def printed(figures: dict[float, float], lower: float, higher: float) -> tuple[float, float] | None:
        return (figures[lower], figures[higher]) if {lower, higher} <= set(figures) else None

    return Table(
        2,
        "The weight of L_CABB",
        "What does more weight on click A, buy B do to each head?",
        (LAST_CLICK, *map(name, (*lambdas, *LEARNED)), TREES),
        LAST_CLICK,
        {
            LAST_CLICK: single,
            **{
                name(each): {CABA.name: caba[each], CABB.name: cabb[each]} for each in lambdas if each in caba
            },
        },
        (
            Claim(
                "Without CABB supervision (lambda 0) CABA NE is lower than with last click",
                ((name(0), LAST_CLICK),),
                CABA.name,
                (caba[0.0], single[CABA.name]),
            ),
            Claim(
                "Without CABB supervision (lambda 0) CABB NE is higher than with last click",
                ((LAST_CLICK, name(0)),),
                CABB.name,
                (single[CABB.name], cabb[0.0]),
            ),
            Claim("CABB NE falls with every step of lambda", steps, CABB.name),
            Claim(
                f"CABB NE is lower at lambda {most:g} than at {least:g}",
                ((name(most), name(least)),),
                CABB.name,
                printed(cabb, most, least),
            ),
            Claim(
                f"CABA NE is lower at lambda 0 than at {most:g} (the text: relatively the same)",
                ((name(0), name(most)),),
                CABA.name,
                printed(caba, 0.0, most),
            ),
            Claim(
                "The selected lambda 0.75 has a lower CABA NE than last click",
                ((TWO_HEADS, LAST_CLICK),),
                CABA.name,
                (caba[SELECTED], single[CABA.name]),
            ),
            Claim(
                "The selected lambda 0.75 has a lower CABB NE than last click",
                ((TWO_HEADS, LAST_CLICK),),
                CABB.name,
                (cabb[SELECTED], single[CABB.name]),
            ),
        ),
    )


def _table_3(available: Sequence[str]) -> Table:
    paper = {
        "static": {CABA.name: 0.478, CABB.name: 0.552},
        "i2i": {CABA.name: 0.462, CABB.name: 0.558},
        TWO_HEADS: {CABA.name: 0.441, CABB.name: 0.563},
    }
    weighted = [scheme for scheme in available if scheme != "static"]

    def claim(words: str, lower: str, higher: str, target: str) -> Claim:
        printed = paper.get(lower), paper.get(higher)
        both = (printed[0][target], printed[1][target]) if all(printed) else None
        return Claim(words, ((lower, higher),), target, both)

    claims = [claim("Taxonomy + CF has a lower CABA NE than static", TWO_HEADS, "static", CABA.name)]
    if "i2i" in available:
        claims += [
            claim("Taxonomy + CF has a lower CABA NE than i2i", TWO_HEADS, "i2i", CABA.name),
            claim("i2i has a lower CABA NE than static", "i2i", "static", CABA.name),
            claim("Static has a lower CABB NE than i2i", "static", "i2i", CABB.name),
        ]
    claims += [
        claim("Static has a lower CABB NE than taxonomy + CF", "static", TWO_HEADS, CABB.name),
        Claim(
            "Relatedness itself helps CABA: taxonomy + CF beats its own alphas permuted, and static at equal "
            "lambda times alpha (a control, not a claim of the paper)",
            ((TWO_HEADS, shuffled("taxonomy_cf")), (equal("taxonomy_cf"), "static")),
            CABA.name,
        ),
        Claim(
            "The same for CABB (a control, not a claim of the paper)",
            ((TWO_HEADS, shuffled("taxonomy_cf")), (equal("taxonomy_cf"), "static")),
            CABB.name,
        ),
    ]
    controls = [control(scheme) for scheme in weighted for control in (equal, shuffled)]
    return Table(
        3,
        "Where alpha comes from",
        "Does weighing click A, buy B by relatedness help, and which relatedness?",
        (*map(row_of, available), *controls),
        "static",
        {name: figures for name, figures in paper.items() if name in map(row_of, available)},
        tuple(claims),
    )


def with_sum(trials: dict[str, list[Trial]]) -> dict[str, list[Trial]]:
    """Adds the row whose score is Figure 2's sum of the two heads, clipped, from the same trainings."""

    def summed(scores):
        return {**scores, names.P_CONVERSION: np.minimum(scores[names.P_CABA] + scores[names.P_CABB], 1)}

    if TWO_HEADS not in trials:
        return trials
    return {
        **trials,
        SUMMED: [Trial(summed(each.held_out), summed(each.evaluation)) for each in trials[TWO_HEADS]],
    }


def compose(
    chosen: Sequence[Table],
    known: Sequence[Variant],
    trials: dict[str, list[Trial]],
    prepared: Prepared,
    plan: Plan,
) -> dict[str, Any]:
    """All that the page and tables.json show, as plain JSON.

    Args:
        known: the variants that were trained, `trials` their trials by name.
    """
    trials = with_sum(trials)
    bootstrap = measures.draws(prepared, plan)
    measured: dict[str, dict[str, Measured]] = {
        name: {target.name: measures.measure(each, target, prepared, plan) for target in TARGETS}
        for name, each in trials.items()
    }
    titles = {variant.name: variant.title for variant in known}

    def compare(lower: str, higher: str, target: str) -> Difference:
        return bootstrap.difference(measured[lower][target].platt, measured[higher][target].platt)

    about = report.about(prepared, plan)
    return {
        **about,
        "data": {**about["data"], "base_rates": measures.base_rates(prepared)},
        "tables": [
            {
                "number": table.number,
                "title": table.title,
                "question": table.question,
                "reference": table.reference,
                "rows": [
                    {
                        "name": name,
                        "title": titles.get(name, "lambda 0.75, Figure 2's clipped sum"),
                        "in_paper": name in table.paper,
                        "paper": table.paper.get(name, {}),
                        "targets": measures.described(
                            measured[name],
                            bootstrap,
                            measured[table.reference] if name != table.reference else None,
                        ),
                        "trees": measures.against_trees(measured[name], measured[TREES], bootstrap)
                        if TREES in table.rows and name != TREES
                        else None,
                    }
                    for name in table.rows
                ],
                "claims": [
                    {
                        "words": result.claim.words,
                        "target": result.claim.target,
                        "verdict": result.verdict,
                        "why": result.why,
                        "paper": result.claim.paper,
                    }
                    for result in (judge(claim, compare, len(plan.seeds)) for claim in table.claims)
                ],
            }
            for table in chosen
        ],
    }
