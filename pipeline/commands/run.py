"""`cabb run`: the whole pipeline, once, on this machine."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from pipeline.strict_yaml import parse_yaml
from schemas.errors import InputError

EXIT_FAILED = 1
EXIT_BLOCKED = 3
EXIT_ANOMALIES = 4


@click.command()
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="YAML settings; defaults fill the rest."
)
@click.option("--output", type=click.Path(path_type=Path), help="Where results go (default runs/cabb).")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one setting; may repeat."
)
def run(config_path: Path | None, output: Path | None, settings: tuple[str, ...]) -> None:
    """Run the pipeline: read logs, learn, judge, push, report.

    A second run reuses every result whose data, settings and code are unchanged; an interrupted one resumes.

    \b
    Examples:
      cabb run
      cabb run --config my-store.yaml
      cabb run --set model.lambda_cabb=0.5 --set similarity.scheme=static
    """
    overrides: dict[str, Any] = dict(parse_setting(each) for each in settings)
    if output:
        overrides["output"] = str(output)
    sys.exit(_run(config_path, overrides, Console()))


def parse_setting(setting: str) -> tuple[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise InputError(f"--set {setting}: write it as KEY=VALUE, for example model.lambda_cabb=0.5")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise InputError(f"--set {setting}: {error}") from None


def _run(config_path: Path | None, overrides: dict[str, Any], console: Console) -> int:
    from pipeline.commands.report import print_results
    from pipeline.config import load_config

    config = load_config(config_path, overrides)

    # Both are read once, when TensorFlow is imported.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from pipeline.local_run import Outcome, run_locally

    result = run_locally(config, console)
    if result.outcome is Outcome.ANOMALIES:
        console.print(Text(result.message), soft_wrap=True)
        console.print(Text.assemble(("Stopped", "bold red"), " by anomalous data"))
        console.print(Text(f"log: {result.log}"), soft_wrap=True)
        return EXIT_ANOMALIES
    if result.outcome is Outcome.FAILED:
        console.print(
            Text.assemble(("Failed", "bold red"), f" in {result.node}: {result.message}"), soft_wrap=True
        )
        console.print(Text(f"log: {result.log}"), soft_wrap=True)
        return EXIT_FAILED
    print_results(result.results, console)
    console.print(Text(f"report: {result.report}"), soft_wrap=True)
    return 0 if result.outcome is Outcome.PUSHED else EXIT_BLOCKED
