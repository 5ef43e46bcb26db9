"""Runs of the whole pipeline that are as small as a good model allows."""

import io
from pathlib import Path

from rich.console import Console

from pipeline.config import Config, load_config
from pipeline.local_run import RunResult, run_locally

USERS = 1500
SETTINGS = {"store.users": USERS, "beam.partitions": 4}


def config_at(output: Path, **settings: object) -> Config:
    return load_config(None, {"output": str(output), **SETTINGS, **settings})


def run(config: Config, **options: object) -> tuple[RunResult, str]:
    """The result, and what a person saw."""
    console = Console(record=True, width=160, file=io.StringIO())
    result = run_locally(config, console, **options)
    return result, console.export_text()


def cached_nodes(printed: str) -> list[str]:
    return [line.split()[0] for line in printed.splitlines() if line.endswith("cached")]


def pushed_versions(config: Config) -> list[str]:
    return sorted(each.name for each in (config.output / "serving" / config.name).glob("[0-9]*"))
