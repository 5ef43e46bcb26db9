"""`cabb explain example`: why one click got its weight and its scores."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline.quiet_tensorflow import quiet_tensorflow
from schemas.errors import InputError

if TYPE_CHECKING:
    from experiments.click_explanation import Click
    from experiments.run_artifacts import RunArtifacts


@click.command()
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    default=Path("runs/cabb/runs/latest"),
    show_default=True,
    help="Folder of a run.",
)
@click.option("--user", help="Whose click; enough if the user has only one.")
@click.option("--session", help="In which session.")
@click.option("--item", help="On which item group.")
@click.option("--row", type=click.IntRange(0), help="Or the number of an evaluation click, from 0.")
def command(run: Path, user: str | None, session: str | None, item: str | None, row: int | None) -> None:
    """Say why one click got its weight and its scores.

    Shows what was known when it happened, what was bought after it and how related that is, with the evidence
    behind the relatedness, the labels and weight that follow, and what the run's model says of it.

    \b
    Examples:
      cabb explain example --row 0
      cabb explain example --user u00000042
      cabb explain example --user u00000042 --session u00000042-1 --item G00107
    """
    if (user is None) == (row is None):
        raise InputError("name a click by --user (and --session, --item), or by --row")
    if row is not None and (session or item):
        raise InputError("--session and --item go with --user, not with --row")
    quiet_tensorflow()
    from components.category_similarity.similarity import SimilarityTable
    from components.similarity_transform.labels import LabelSettings
    from experiments.click_explanation import example_of, find_click, numbered_click, values_of
    from experiments.run_artifacts import find_run

    console = Console()
    found = find_run(run)
    configuration = found.results["configuration"]
    similarity = SimilarityTable.load(found.folder("Similarity"))
    examples = found.folder("Examples")
    with console.status("looking for the click"):
        if row is not None:
            user, session, item = numbered_click(examples, row)
        which = find_click(
            found.folder("Sessions"),
            similarity,
            LabelSettings.model_validate(configuration["labels"]),
            found.results["run"]["time_zone"],
            user,
            session,
            item,
        )
        record = example_of(examples, which)
    with console.status("loading the model"):
        scores = _scores(found.model, record)
    _print(which, values_of(record), scores, found, console)


def _scores(model: Path, record: bytes) -> dict[str, float]:
    import tensorflow as tf

    served = tf.saved_model.load(str(model))
    said = served.signatures["serving_default"](tf.constant([record]))
    return {name: float(value.numpy().ravel()[0]) for name, value in said.items()}


def _print(
    which: Click, row: dict[str, list[Any]], scores: dict[str, float], found: RunArtifacts, console: Console
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from experiments.click_explanation import telling_features
    from models import features as names
    from schemas.events import CATEGORY_JOINER

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    moment = datetime.fromtimestamp(which.time_us / 1e6, UTC)
    day = "training" if which.split == "train" else "evaluation"
    say(f"[bold]{escape(which.item)}[/]  {escape(which.leaf)}")
    say(
        f"clicked by {escape(which.user)} in session {escape(which.session)}, {moment:%Y-%m-%d %H:%M:%S} UTC "
        f"({day} days)"
    )
    say("\n[bold]What was known[/] (what is zero, unknown or never happened is left out)")
    for group, told in telling_features(row).items():
        say(
            f"  {group}: "
            + escape("; ".join(f"{name} {_short(name, value)}" for name, value in told.items()))
        )

    say("\n[bold]What was bought after it[/]")
    if not which.bought:
        say("  nothing within the attribution window")
    else:
        unit = f"{found.results['similarity']['unit']}s"
        view = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 1))
        for heading in ("item", "category"):
            view.add_column(heading)
        for heading in ("after", "S", f"{unit} of A", "of B", "of both"):
            view.add_column(heading, justify="right", no_wrap=True)
        view.add_column("because")
        for each in which.bought:
            because = "the clicked item: CABA" if each.same_item else each.how
            view.add_row(
                escape(each.item),
                escape(each.leaf.split(CATEGORY_JOINER)[-1]),
                _span(each.after_s),
                "" if each.same_item else f"{each.relatedness:.3f}",
                f"{each.users_a:,}",
                f"{each.users_b:,}",
                "" if each.both is None else f"{each.both:,}",
                because,
            )
        console.print(view)

    say("\n[bold]Labels and weight[/]")
    say("  " + ", ".join(f"{name} {row[name][0]:g}" for name in names.LABELS if name in row))
    for line in _weight(which, row, found):
        say(f"  {line}")

    say(f"\n[bold]Scores[/] of {'the pushed' if found.pushed else 'the trained, not pushed'} model")
    rates = {head["output"]: head["base_rate"] for head in found.results["heads"]}
    for name in (names.P_CABA, names.P_CABB, names.P_CONVERSION):
        times = (
            f", {scores[name] / rates[name]:.1f} times the base rate {rates[name]:.3f}"
            if rates.get(name)
            else ""
        )
        say(f"  {name:<13}{scores[name]:.4f}{times}")


def _weight(which: Click, row: dict[str, list[Any]], found: RunArtifacts) -> list[str]:
    """How alpha came about and what it makes of the click in the CABB loss."""
    from models import features as names

    alpha, share = row[names.ALPHA][0], row[names.ROW_WEIGHT][0]
    labels = found.results["configuration"]["labels"]
    others = [each.relatedness for each in which.bought if not each.same_item]
    if row[names.Y_CABB][0] > 0 and len(others) > 1:
        why = f"{labels['alpha_reduce']} of S over the {len(others)} other items bought"
    elif row[names.Y_CABB][0] > 0:
        why = "S of the clicked and the other item bought"
    elif labels["negative_alpha"] == "mean":
        why = "no other item was bought: the mean alpha of the training clicks where one was"
    else:
        why = "no other item was bought"
    lines = [f"alpha {alpha:.3f}: {why}"]
    model = found.results["configuration"]["model"]
    strength = model.get("lambda_cabb")
    if model["model"] == "cabb" and isinstance(strength, int | float):
        believed = model.get("alpha_share", 1.0)  # runs from before the setting
        weight = 1 - believed + believed * alpha
        lines.append(
            f"weight in the CABB loss: lambda {strength:g} x {weight:.3f} x row weight {share:g} = "
            f"{strength * weight * share:.3f}; {weight:.3f} is {1 - believed:g} + {believed:g} x alpha"
        )
    if which.split == "eval":
        lines.append("an evaluation click trains nothing; the weight is what it would have")
    return lines


def _short(name: str, value: Any) -> str:
    if name.endswith("_s"):
        return _span(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
