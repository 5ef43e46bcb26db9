"""`cabb lineage`: where a published version came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schemas.errors import InputError

if TYPE_CHECKING:
    from schemas.lineage import Lineage, Version


@click.command()
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--serving-dir",
    type=click.Path(path_type=Path),
    help="Where versions are published [the one below --run].",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    default=Path("runs/cabb"),
    show_default=True,
    help="Output folder of `cabb run`, with its run history.",
)
def lineage(version: int, serving_dir: Path | None, run: Path) -> None:
    """Say which data and run made VERSION, what it was compared with, and why it was blessed.

    The version's own lineage.json answers anywhere; where the run's page and TFX's run history are found too,
    they add every check in words and the executions.

    \b
    Examples:
      cabb lineage 3
      cabb lineage 3 --serving-dir /mnt/cabb/serving/cabb
    """
    from rich.console import Console

    home = serving_dir or _serving_dir(run)
    found = _version(home, version)
    if found.lineage is None:
        raise InputError(
            f"{found.path}: version {version} carries no lineage.json; another tool put it there"
        )
    console = Console()
    for title, lines in describe(found.lineage, _results(home, run, found.lineage), run / "metadata.sqlite"):
        console.print(f"[bold]{title}[/]", highlight=False)
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def describe(
    facts: Lineage, results: dict[str, Any] | None, history: Path | None = None
) -> list[tuple[str, list[str]]]:
    """The answer in parts: (title, lines).

    Args:
        facts: the version's.
        results: the run's results.json, None when it is not here.
        history: TFX's metadata store, if there is one.
    """
    made = [
        f"run {facts.run_id or facts.run_key}, {facts.created or 'time unknown'}",
        f"trained on {facts.train_start or 'the first day of the logs'} up to {facts.train_end} (exclusive)",
        f"evaluated on {facts.eval_start} up to {facts.eval_end or 'the end of the logs'}",
        f"logs {facts.data_fingerprint or 'unknown'}, settings {facts.config_hash[:16] or 'unknown'}, "
        f"schema {(facts.schema_hash or 'unknown')[:16]}",
        *([f"submitted with {_arguments(facts)}"] if facts.arguments else []),
        f"code {facts.git_commit or facts.code_hash or 'outside of a checkout'}"
        + (f", image {facts.image}" if facts.image else ""),
    ]
    parent = (
        f"version {facts.parent_version}" if facts.parent_version else "base rates: nothing was in production"
    )
    parts = [(f"Version {facts.version} was made by", made), ("It was compared with", [parent])]
    if results is not None:
        words = [
            f"{'passed' if each['passed'] else 'failed'}: {each['words']}"
            for each in results["verdict"]["checks"]
        ]
        parts.append(("It was blessed because", [*results["verdict"]["sentences"], *words]))
    else:
        parts.append(("It was blessed on these figures", _figures(facts)))
    executions = _executions(history, facts.run_key) if history and history.is_file() else []
    if executions:
        parts.append(("Its push in TFX's run history", executions))
    return parts


def _arguments(facts: Lineage) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(facts.arguments.items()))


def _figures(facts: Lineage) -> list[str]:
    outputs = dict.fromkeys(name.partition("/")[0] for name in facts.metrics)
    lines = []
    for output in outputs:

        def figure(metric: str, output: str = output) -> str:
            value = facts.metrics.get(f"{output}/{metric}")
            return "undefined" if value is None else f"{value:.4f}"

        lines.append(
            f"{output}: NE {figure('normalized_entropy')}, change {figure('ne_candidate_minus_baseline')} "
            f"(bounds {figure('ne_change_lower')} to {figure('ne_change_upper')}), "
            f"calibration {figure('calibration')}, base rate {figure('base_rate')}"
        )
    return lines


def _serving_dir(run: Path) -> Path:
    homes = sorted(each for each in (run / "serving").glob("*") if each.is_dir())
    if len(homes) != 1:
        raise InputError(f"{run}: holds {len(homes)} serving directories; name one with --serving-dir")
    return homes[0]


def _version(home: Path, number: int) -> Version:
    from schemas.lineage import versions

    published = versions(home)
    for each in published:
        if each.number == number:
            return each
    known = ", ".join(str(each.number) for each in published) or "none"
    raise InputError(f"{home}: no version {number}; there are: {known}")


def _results(home: Path, run: Path, facts: Lineage) -> dict[str, Any] | None:
    """The page's figures: beside the versions (Kubeflow), or in the folder of the run that has this key."""
    beside = home / ".runs" / facts.run_id / "results.json"
    found = [beside] if facts.run_id and beside.is_file() else []
    found += sorted((run / "runs").glob(f"*-{facts.run_key[:8]}/results.json"))
    for path in found:
        results = json.loads(path.read_text(encoding="utf-8"))
        if results["verdict"].get("version") == facts.version:
            return results
    return None


def _executions(history: Path, run_key: str) -> list[str]:
    """Executions of the pusher with this run's key, from TFX's metadata store."""
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(history)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(config)
    lines = []
    for execution in store.get_executions():
        properties = {**execution.properties, **execution.custom_properties}
        if "push_destination" in properties and run_key in properties["lineage"].string_value:
            state = metadata_store_pb2.Execution.State.Name(execution.last_known_state).lower()
            inputs = [
                event.artifact_id
                for event in store.get_events_by_execution_ids([execution.id])
                if event.type == metadata_store_pb2.Event.INPUT
            ]
            lines.append(f"execution {execution.id}: {state}")
            lines += [f"read {each.uri}" for each in store.get_artifacts_by_id(inputs)]
    return lines
