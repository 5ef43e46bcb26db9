"""Where the live feature state is kept: what a store answers, and the embedded one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from components.feature_state.kept import DAILY_SCHEMA, kept_schema, oldest_kept_day
from components.feature_state.snapshot import Facts, Snapshot
from components.session_example_gen.catalog import CATALOG_SCHEMA
from components.session_example_gen.sessions import ARRIVAL
from components.similarity_transform.popularity import COUNTED
from schemas.errors import InputError

ORDER = ("user_id", "event_time", ARRIVAL)
_AT_ONCE = 500
"""Names looked up in one statement."""


class NoStateError(InputError):
    """There is no live feature state yet."""


class Store(Protocol):
    """The live copy of a feature state. One process writes at a time; any number read."""

    def facts(self) -> Facts:
        """What the state was made from, with the last event so far."""

    def events(self, users: Sequence[str]) -> pl.DataFrame:
        """Kept events of users (`kept_schema`), sorted by ORDER."""

    def products(self, ids: Sequence[str]) -> pl.DataFrame:
        """Catalog rows (CATALOG_SCHEMA) of products."""

    def leaf_prices(self, leaves: Sequence[str]) -> dict[str, float]:
        """Mean catalog price by leaf."""

    def daily(self, names: Mapping[str, Sequence[str]], since: int) -> pl.DataFrame:
        """Counts (DAILY_SCHEMA) of names by kind, from day `since` on, sorted by kind, name and day."""

    def writing(self) -> Any:
        """A context in which this process alone writes; everything written in it appears at its end."""

    def write(self, added: pl.DataFrame, dropped: pl.DataFrame, daily: pl.DataFrame, facts: Facts) -> None:
        """Adds events, removes events (by ORDER), adds to daily counts, and replaces the facts."""

    def close(self) -> None:
        """Lets go of the store."""


class SqliteStore:
    """A feature state in one SQLite file.

    Args:
        path: made by `create`.

    Raises:
        NoStateError: it is not there.
        InputError: it is something else.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            raise NoStateError(f"{path}: no feature state; `cabb ingest` makes one of the pushed version's")
        self._path = path
        try:
            self._open()
            self._schema = kept_schema(self.facts().source)
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            said = str(error).splitlines()[0]
            raise InputError(
                f"{path}: not a feature state that this version of cabb can read ({said}); "
                "`cabb ingest --rebuild` makes it anew of the pushed version's"
            ) from None

    @classmethod
    def create(cls, path: Path, snapshot: Snapshot) -> SqliteStore:
        """A new file from a snapshot, in the place of what is there; it appears whole or not at all."""
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        facts = snapshot.facts
        columns = kept_schema(facts.source)
        connection = sqlite3.connect(temporary)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.executescript(
                f"""
                CREATE TABLE facts (value TEXT);
                CREATE TABLE events ({_declared(columns)}, PRIMARY KEY ({", ".join(ORDER)})) WITHOUT ROWID;
                CREATE TABLE products ({_declared(CATALOG_SCHEMA)}, PRIMARY KEY (product_id)) WITHOUT ROWID;
                CREATE TABLE leaf_prices (leaf TEXT PRIMARY KEY, price REAL) WITHOUT ROWID;
                CREATE TABLE daily ({_declared(DAILY_SCHEMA)}, PRIMARY KEY (kind, name, day)) WITHOUT ROWID;
                """
            )
            _insert(connection, "facts", [(facts.model_dump_json(),)])
            for part in snapshot.events():
                _insert(connection, "events", plain(part.select(*columns)))
            _insert(connection, "products", snapshot.products.select(*CATALOG_SCHEMA).rows())
            _insert(connection, "leaf_prices", snapshot.leaf_prices.rows())
            _insert(connection, "daily", snapshot.daily.select(*DAILY_SCHEMA).rows())
            connection.commit()
        finally:
            connection.close()
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        temporary.replace(path)
        return cls(path)

    def facts(self) -> Facts:
        (text,) = self._connection.execute("SELECT value FROM facts").fetchone()
        return Facts.model_validate_json(text)

    def events(self, users: Sequence[str]) -> pl.DataFrame:
        return typed(self._select("events", self._schema, "user_id", users), self._schema).sort(ORDER)

    def products(self, ids: Sequence[str]) -> pl.DataFrame:
        return typed(self._select("products", CATALOG_SCHEMA, "product_id", ids), CATALOG_SCHEMA)

    def leaf_prices(self, leaves: Sequence[str]) -> dict[str, float]:
        return dict(self._select("leaf_prices", ["leaf", "price"], "leaf", leaves))

    def daily(self, names: Mapping[str, Sequence[str]], since: int) -> pl.DataFrame:
        where = f"kind = ? AND day >= {since:d}"
        rows = [
            row
            for k, of in names.items()
            for row in self._select("daily", DAILY_SCHEMA, "name", of, where, k)
        ]
        return typed(rows, DAILY_SCHEMA).sort("kind", "name", "day")

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def write(self, added: pl.DataFrame, dropped: pl.DataFrame, daily: pl.DataFrame, facts: Facts) -> None:
        before = oldest_kept_day(self.facts().last_us)
        _insert(self._connection, "events", plain(added.select(*self._schema)))
        keys = " AND ".join(f"{name} = ?" for name in ORDER)
        self._connection.executemany(f"DELETE FROM events WHERE {keys}", plain(dropped.select(ORDER)))
        more = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTED)
        on_conflict = f"ON CONFLICT (kind, name, day) DO UPDATE SET {more}"
        _insert(self._connection, "daily", daily.select(*DAILY_SCHEMA).rows(), on_conflict)
        if (oldest := oldest_kept_day(facts.last_us)) > before:
            self._connection.execute("DELETE FROM daily WHERE day < ?", (oldest,))
        self._connection.execute("UPDATE facts SET value = ?", (facts.model_dump_json(),))

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> None:
        # Autocommit: transactions are ours. Readers go on while one process writes.
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA busy_timeout = 60000")
        self._connection.execute("PRAGMA journal_mode = WAL")

    def _select(
        self,
        table: str,
        columns: Iterable[str],
        key: str,
        values: Sequence[str],
        where: str = "1",
        *given: Any,
    ) -> list[tuple]:
        named = ", ".join(map(_quoted, columns))
        rows: list[tuple] = []
        for at in range(0, len(values), _AT_ONCE):
            some = values[at : at + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            statement = f"SELECT {named} FROM {table} WHERE {where} AND {key} IN ({marks})"
            rows += self._connection.execute(statement, (*given, *some)).fetchall()
        return rows


def typed(rows: Sequence[Sequence[Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of plain values, whose times are microseconds."""
    plain = {name: pl.Int64 if name == "event_time" else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, plain, orient="row").cast(dict(schema))


def plain(events: pl.DataFrame) -> list[tuple]:
    """The rows of a frame with times in microseconds."""
    return events.with_columns(pl.col("event_time").to_physical()).rows()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _declared(columns: Mapping[str, Any]) -> str:
    def kind(of: Any) -> str:
        return "TEXT" if of == pl.String else "REAL" if of.is_float() else "INTEGER"

    return ", ".join(f"{_quoted(name)} {kind(of)}" for name, of in columns.items())


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple], more: str = "") -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks}) {more}", rows)
