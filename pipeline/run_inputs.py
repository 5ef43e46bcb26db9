"""Resolves what a run reads: logs (or a simulated store), days, schema, and what is in production."""

import hashlib
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from components.session_example_gen.splits import SplitWindows
from pipeline.config import Config
from pipeline.fingerprint import data_fingerprint, run_key
from schemas.curated import write_schema
from schemas.errors import InputError
from schemas.events import LogSource
from schemas.lineage import Lineage, baseline_state, push_state
from simulator.store import simulate
from simulator.worlds import World

EVAL_SHARE_OF_STORE = 0.25
HELD_OUT_SHARE_OF_STORE = 0.125


@dataclass(frozen=True)
class RunInputs:
    """What a run reads, and the facts about it that decide whether earlier results can be reused.

    Attributes:
        source: the logs and their catalog, absolute paths.
        windows: training and evaluation days.
        fingerprint: changes when the logs or the catalog change.
        run_key: same data, configuration and code give the same key.
        schema_file: the curated schema with this source's context columns.
        serving_dir: where pushed versions live.
        baseline_state: what the gates see of the serving directory; part of their cache keys.
        push_state: what a push depends on; part of the pusher's cache key.
        lineage: facts that a pushed version carries.
    """

    source: LogSource
    windows: SplitWindows
    fingerprint: str
    run_key: str
    schema_file: Path
    serving_dir: Path
    baseline_state: str
    push_state: str
    lineage: Lineage


def resolve(config: Config, progress: Callable[[int, int], None] | None = None) -> RunInputs:
    """Finds or simulates the logs and gathers the facts of the run.

    Args:
        config: the resolved configuration.
        progress: called with (users done, users in all) while a store is simulated.

    Raises:
        InputError: no file at a path of the source, or real logs without evaluation days.
    """
    source, windows = logs(config, progress)
    fingerprint = data_fingerprint(source)
    key = run_key(config, fingerprint)
    serving_dir = config.output / "serving" / config.name
    schema_file = _schema(
        config.output / "schemas", source.context_columns, config.resolved_attribution().views
    )
    lineage = Lineage(
        run_key=key,
        data_fingerprint=fingerprint,
        config_hash=config.digest(),
        git_commit=git_commit(),
        train_start=windows.train_start and windows.train_start.isoformat(),
        train_end=windows.eval_start.isoformat(),
        eval_start=windows.eval_start.isoformat(),
        eval_end=windows.eval_end and windows.eval_end.isoformat(),
    )
    return RunInputs(
        source=source,
        windows=windows,
        fingerprint=fingerprint,
        run_key=key,
        schema_file=schema_file,
        serving_dir=serving_dir,
        baseline_state=baseline_state(serving_dir, key),
        push_state=push_state(serving_dir, key),
        lineage=lineage,
    )


def logs(
    config: Config, progress: Callable[[int, int], None] | None = None
) -> tuple[LogSource, SplitWindows]:
    """The logs that a configuration names, simulated first if it names none, and their days.

    Raises:
        InputError: real logs without evaluation days.
    """
    if config.data is not None and config.split is None:
        raise InputError("split.eval_start is missing: name the first evaluation day of your logs")
    source = config.data or _simulated(config.store, config.output / "store", progress)
    return source, config.split or last_days(config.store, config.label_days(), config.model.needs_holdout)


def _simulated(world: World, directory: Path, progress: Callable[[int, int], None] | None) -> LogSource:
    simulate(world, directory, progress)
    return LogSource(
        events=[str(directory / "events" / "*.parquet")],
        catalog=str(directory / "catalog.parquet"),
        context_columns=["channel", "device", "country"],
    )


def last_days(world: World, label_days: float = 0, held_out: bool = False) -> SplitWindows:
    """Evaluates a simulated store on a quarter of its days, the last ones that are old enough for a label;
    an eighth before them is held out if the model asks for it."""
    eval_days = max(1, round(world.days * EVAL_SHARE_OF_STORE)) + math.ceil(label_days)
    end = world.start_date + timedelta(days=world.days)
    return SplitWindows(
        eval_start=end - timedelta(days=eval_days),
        eval_end=end,
        holdout_days=max(1, round(world.days * HELD_OUT_SHARE_OF_STORE)) if held_out else 0,
    )


def _schema(directory: Path, context_columns: Sequence[str], views: Sequence[str]) -> Path:
    """The schema under a name that holds its content's hash: TFX's cache sees the name only."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / "schema.pbtxt"
    write_schema(draft, context_columns, views)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()[:16]
    return draft.rename(directory / f"schema-{digest}.pbtxt")


def git_commit() -> str | None:
    """The commit of the project's own checkout; None when it is installed elsewhere or there is no git."""
    home = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(home), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    except OSError:
        return None
    return found[1] if len(found) > 1 and Path(found[0]) == home else None
