"""`cabb score`: scores of click features from a served model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.ingest import store_option
from pipeline.commands.serve import default_serving_dir
from schemas.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from components.feature_state.live import LiveFeatures
    from serving.client import Client

EXIT_FAILED = 1
_ADVICE = {
    "NOT_FOUND": "; --model, --version and --label choose another",
    "UNAVAILABLE": "; `cabb serve` starts a server, --address names another",
}


@click.command()
@click.option(
    "--input", "source", type=click.Path(path_type=Path), help="Parquet file of raw features, a row each."
)
@click.option(
    "--output", "target", type=click.Path(path_type=Path), help="Parquet file of the rows with scores."
)
@click.option("--user", help="Score clicks of this user, with the features of the live feature state.")
@click.option("--item", "items", multiple=True, help="A product that --user may click; may repeat.")
@click.option("--at", type=click.DateTime(), help="When --user would click, UTC [now].")
@click.option("--context", multiple=True, metavar="NAME=VALUE", help="Of the visit [that of its last event].")
@click.option(
    "--serving-dir",
    type=click.Path(path_type=Path),
    help="Whose feature state --user is looked up in [the one below runs/cabb].",
)
@store_option
@click.option("--json", "row", help="One row as a JSON object, or columns of several.")
@click.option("--log", type=click.Path(path_type=Path), help="Folder that keeps what is scored.")
@click.option("--address", default="127.0.0.1:8500", show_default=True, help="host:port of the gRPC API.")
@click.option("--model", help="Name of the model on the server [that of --serving-dir's folder, else cabb].")
@click.option("--version", type=click.IntRange(0), help="A version (default: the newest).")
@click.option("--label", help="A version by its label, as in stable or canary.")
@click.option("--batch", default=2000, show_default=True, type=click.IntRange(1), help="Rows per request.")
@click.option(
    "--deadline", default=10.0, show_default=True, type=click.FloatRange(0.001), help="Seconds per request."
)
def score(
    source: Path | None,
    target: Path | None,
    user: str | None,
    items: tuple[str, ...],
    at: datetime | None,
    context: tuple[str, ...],
    serving_dir: Path | None,
    store: str | None,
    row: str | None,
    log: Path | None,
    address: str,
    model: str | None,
    version: int | None,
    label: str | None,
    batch: int,
    deadline: float,
) -> None:
    """Score clicks with a served model: of one user, or rows of raw features.

    \b
    Examples:
      cabb score --user u00000012 --item p-104 --item p-233
      cabb score --input rows.parquet --output scored.parquet
      cabb score --json '{"item": "mug-7", "leaf": "Home > Mugs", ...}'
      cabb score --input rows.parquet --output scored.parquet --label canary

    All features of the model are needed; its assets.extra/cabb.json lists them. For many rows use
    `cabb bulk-score`.
    """
    ways = [row is not None, source is not None or target is not None, bool(user or items)]
    if sum(ways) != 1 or (source is None) != (target is None) or (user is None) != (not items):
        raise InputError("give one of --json, --input with --output, and --user with --item")
    if user is not None:
        columns = user_columns(user, items, at, context, serving_dir or default_serving_dir(), store)

    from serving.client import Client, ScoringError
    from serving.score_log import ScoreLog

    try:
        model = model or (serving_dir.resolve().name if serving_dir else "cabb")
        keep = ScoreLog(log, share=1.0, max_rows=batch) if log else None
        with Client(address, model, None, deadline, version, label, keep) as client:
            if user is not None:
                scored = client.score(columns)
                click.echo(json.dumps({"item": items, **{n: v.tolist() for n, v in scored.items()}}))
            elif row is not None:
                click.echo(json.dumps(_one(client, row)))
            else:
                rows = score_file(client, source, target, batch)
                click.echo(f"{rows:,} rows: {target}")
    except ScoringError as error:
        click.echo(f"cabb: {address}: {error}{_ADVICE.get(error.code.name, '')}", err=True)
        raise SystemExit(EXIT_FAILED) from None


def user_columns(
    user: str,
    items: Sequence[str],
    at: datetime | None,
    context: Sequence[str],
    serving_dir: Path,
    store: str | None = None,
) -> dict[str, Any]:
    """Features of a user's clicks on products, a row each; see `LiveFeatures.features`.

    Raises:
        InputError: no feature state, or a context that the logs do not have.
    """
    import polars as pl

    from components.feature_state.live import LiveFeatures
    from components.feature_state.place import live_store

    live = LiveFeatures(live_store(serving_dir, store))
    given = dict(each.partition("=")[::2] for each in context)
    unknown = sorted(given.keys() - set(live.source.context_columns))
    if unknown:
        known = ", ".join(live.source.context_columns) or "none"
        raise InputError(f"--context {unknown[0]}: the logs have no such column; they have: {known}")
    requests = pl.DataFrame({"product_id": list(items)}).with_columns(
        pl.lit(user).alias("user_id"),
        pl.lit(at or datetime.now(UTC).replace(tzinfo=None)).dt.replace_time_zone("UTC").alias("event_time"),
        *(pl.lit(value).alias(name) for name, value in given.items()),
    )
    for note in _surprises(live, user, items, requests["event_time"][0]):
        click.echo(f"note: {note}", err=True)
    columns = live.features(requests)
    live.store.close()
    return columns


def _surprises(live: LiveFeatures, user: str, items: Sequence[str], at: datetime) -> list[str]:
    """What a caller may not expect of a click's features, in words."""
    found = []
    if live.source.catalog:
        listed = set(live.store.products(items)["product_id"])
        unlisted = [each for each in items if each not in listed]
        if unlisted:
            found.append(f"not in the catalog: {', '.join(unlisted)}")
    if not live.store.events([user]).height:
        found.append(f"no event of user {user}: scored as a new visitor")
    last = datetime.fromtimestamp(live.store.facts().last_us / 1e6, UTC)
    if at - last > timedelta(days=1):
        found.append(
            f"the feature state ends at {last:%Y-%m-%d %H:%M} UTC, {(at - last).days:,} days before this "
            "click: `cabb ingest` newer events, or ask for another moment with --at"
        )
    return found


def _one(client: Client, row: str) -> dict[str, Any]:
    try:
        columns = json.loads(row)
    except ValueError as error:
        raise InputError(f"--json: not JSON ({error})") from None
    if not isinstance(columns, dict):
        raise InputError(f"--json: expected an object of features, got {type(columns).__name__}")
    scored = client.score(columns)
    return {name: v.tolist() if len(v) > 1 else float(v[0]) for name, v in scored.items()}


def score_file(client: Client, source: Path, target: Path, batch: int) -> int:
    """Writes the rows of a Parquet file with a column per output; memory holds one batch.

    Args:
        client: of the served model.
        source: Parquet file with the model's raw features; other columns are kept.
        target: written beside itself first, then renamed.
        batch: rows per request.

    Returns:
        The number of rows.

    Raises:
        InputError: an unreadable file, or columns that do not fit the model.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{source}: not a readable Parquet file ({error})") from None
    missing = sorted(set(client.features) - set(file.schema_arrow.names))
    if missing:
        raise InputError(f"{source}: lacks {len(missing)} features of the model: {', '.join(missing)}")
    temporary = target.with_name(f".{target.name}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, writer = 0, None
    try:
        for part in file.iter_batches(batch):
            scored = _with_scores(part, client)
            writer = writer or pq.ParquetWriter(temporary, scored.schema)
            writer.write_table(scored)
            rows += part.num_rows
    finally:
        if writer:
            writer.close()
    if writer is None:
        raise InputError(f"{source}: has no rows")
    temporary.replace(target)
    return rows


def _with_scores(part: pa.RecordBatch, client: Client) -> pa.Table:
    import pyarrow as pa

    table = pa.Table.from_batches([part])
    for name, values in client.score(part).items():
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, pa.array(values))
    return table
