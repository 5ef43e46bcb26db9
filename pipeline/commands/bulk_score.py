"""`cabb bulk-score`: many rows through Beam, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.quiet_tensorflow import quiet_tensorflow


@click.command("bulk-score")
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder for the rows.")
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Folder of a version [the one in production of runs/cabb].",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--batch", default=2000, show_default=True, type=click.IntRange(1), help="Rows scored at once.")
def bulk_score(sources: tuple[str, ...], output: Path, export: Path | None, workers: int, batch: int) -> None:
    """Score all rows of SOURCES, Parquet files or globs of raw features, into part files below --output.

    Each worker holds the model itself; a row group is the unit of work, and memory holds one batch.

    \b
    Examples:
      cabb bulk-score "rows/*.parquet" --output scored
      cabb bulk-score rows.parquet --output scored --export runs/cabb/serving/cabb/3 --workers 4
    """
    quiet_tensorflow()
    from components.bulk_scoring.score_beam import score_files
    from pipeline.beam_profiles import BeamSettings
    from pipeline.commands.serve import default_serving_dir
    from schemas.errors import InputError
    from schemas.lineage import production

    if export is None:
        home = default_serving_dir()
        version = production(home)
        if version is None:
            raise InputError(f"{home}: holds no version; name one with --export")
        export = version.path
    mode = "multi_processing" if workers > 1 else "in_memory"
    flags = BeamSettings(workers=workers, running_mode=mode).arguments()
    rows = score_files(sources, export, output, flags, batch)
    click.echo(f"{rows:,} rows: {output}")
