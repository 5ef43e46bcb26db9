"""The command line: `cabb COMMAND`."""

import sys

import click
from rich.console import Console
from rich.text import Text

from pipeline.lazy_group import LazyGroup
from schemas.errors import InputError

EXIT_BAD_INPUT = 2

_COMMANDS = {
    "run": "Run the pipeline: logs to a gated, pushed model and a report.",
    "tune": "Search lambda and the model's main sizes on training days.",
    "simulate": "Write the logs of a simulated store whose truth is known.",
    "similar": "Show the categories most related to one, with support.",
    "attribution": "Show who gets the credit of a purchase, under every attribution view.",
    "serve": "Serve pushed versions on this machine, as TensorFlow Serving would.",
    "ingest": "Take events into the live feature state that scoring by user reads.",
    "score": "Score rows of click features with a served model.",
    "bulk-score": "Score many rows through Beam, without a server.",
    "monitor": "Compare what was scored with training, and with what happened.",
    "report": "Show the verdict and metrics of the last run, and its page.",
    "kubeflow": "Compile, check, rehearse and submit the pipeline for Kubeflow.",
    "explain": "Say why a model says what it says: which features its heads rely on.",
    "ab-test": "Let two trained models rank for simulated shoppers whose truth is known.",
    "experiment": "Ask the papers' questions of your data: tables with seeds and intervals.",
    "lineage": "Say which data and run made a version, what it was compared with, and why it was blessed.",
}


@click.group(
    cls=LazyGroup,
    package="pipeline.commands",
    described=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="cabb")
def cabb() -> None:
    """Conversion models that know "click A, buy A" from "click A, buy B".

    \b
    Examples:
      cabb run                              the whole pipeline on the simulated store
      cabb run --config my-store.yaml       the same on your own logs
      cabb similar "Coffee Makers"          what the last run learned about a category
      cabb serve                            the pushed model behind gRPC and REST
      cabb report                           the last run's verdict and page

    \b
    Exit codes: 0 pushed or done, 1 failed, 2 bad input or configuration,
    3 blocked by the gate, 4 stopped by anomalous data.
    """


def main() -> None:
    """Entry point of the console script."""
    try:
        cabb.main(prog_name="cabb", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except (InputError, click.ClickException) as error:
        words = str(error)
        if isinstance(error, click.ClickException):
            context = getattr(error, "ctx", None)
            words = error.format_message() + (f" See {context.command_path} --help" if context else "")
        Console(stderr=True).print(Text.assemble(("cabb:", "bold red"), f" {words}"), soft_wrap=True)
        sys.exit(EXIT_BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        Console(stderr=True).print("stopped; run the same command again to resume", highlight=False)
        sys.exit(130)
