"""`cabb serve`: pushed versions behind TensorFlow Serving's API, on this machine."""

from __future__ import annotations

import gc
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.quiet_tensorflow import quiet_tensorflow
from schemas.errors import InputError

if TYPE_CHECKING:
    from serving.models import Config


@click.command()
@click.argument("serving_dir", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="Name of the model in requests (default: the folder's name).")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="A models.config of TensorFlow Serving, instead of SERVING_DIR.",
)
@click.option("--port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="gRPC; 0: any.")
@click.option(
    "--rest-port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="REST; 0: any."
)
def serve(
    serving_dir: Path | None, name: str | None, config_file: Path | None, port: int, rest_port: int
) -> None:
    """Serve pushed versions with an emulator of TensorFlow Serving, on 127.0.0.1 only.

    SERVING_DIR holds a folder per version (default: what the last run in runs/cabb pushed to). The largest
    version answers; a newer one takes over within a second of being pushed. End it with Ctrl-C.

    \b
    Examples:
      cabb serve
      cabb serve runs/my-store/serving/my-store --port 9000
      cabb serve --config kubeflow/serving/models.config
    """
    if config_file and (serving_dir or name):
        raise InputError("--config names its models itself: leave out SERVING_DIR and --name")
    if name is not None and not name.strip():
        raise InputError("--name is empty: requests need a name to ask for; leave it out for the folder's")
    folder = None if config_file else (serving_dir or default_serving_dir())
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder; run `cabb run` first or name the serving directory")
    quiet_tensorflow()

    from rich.console import Console

    from serving.models import single

    console = Console(highlight=False, soft_wrap=True)
    config = (
        read_config(config_file) if config_file else single(name or folder.resolve().name, folder.resolve())
    )

    from serving.emulator import Emulator  # loads TensorFlow for seconds: after all that may be refused

    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    with Emulator(config, port=port, rest_port=rest_port) as server:
        for model in map(server.models.model, server.models.names()):
            numbers = ", ".join(map(str, model.available()))
            console.print(f"{model.name}: version {numbers}" if numbers else f"{model.name}: no version yet")
            for number, (_, error) in model.states().items():
                if error:
                    console.print(
                        f"{model.name}: version {number} cannot be loaded: {error.message}", markup=False
                    )
        console.print(
            f"gRPC {server.address}, REST http://{server.rest_address} (emulator of TensorFlow Serving)"
        )
        gc.collect()
        gc.freeze()
        stop.wait()


def default_serving_dir(output: Path = Path("runs/cabb")) -> Path:
    """The one serving directory of an output folder.

    Raises:
        InputError: it has none, or several.
    """
    found = sorted(p for p in (output / "serving").glob("*") if p.is_dir())
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"{output}: not one serving directory (found: {names}); run `cabb run` first, or say where "
            "versions are published (--help says how)"
        )
    return found[0]


def read_config(path: Path) -> Config:
    """A models.config; relative base paths are relative to the current folder.

    Raises:
        InputError: it cannot be read as a ModelServerConfig.
    """
    from google.protobuf import text_format

    from serving.models import Config

    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), Config())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(f"{path}: not a models.config ({error})") from None
    return config
