"""The live feature state on a Redis server, for several servers that share one.

Keys begin with `cabb:NAME:GENERATION:`. A snapshot is loaded as a new generation, which takes over in one
step.

    users:USER        hash   ARRIVAL -> event, JSON list in the order of `kept_schema`
    daily:KIND:NAME   hash   day -> counts, JSON list
    products          hash   product -> catalog row, JSON list
    leaf_prices       hash   leaf -> price
    facts             string
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import redis

from components.feature_state.kept import DAILY_SCHEMA, kept_schema, oldest_kept_day
from components.feature_state.snapshot import Facts, Snapshot
from components.feature_state.store import ORDER, NoStateError, plain, typed
from components.session_example_gen.catalog import CATALOG_SCHEMA
from components.session_example_gen.sessions import ARRIVAL
from components.similarity_transform.popularity import COUNTED
from schemas.errors import InputError

_AT_ONCE = 5000
_LOCK_S = 600


class RedisStore:
    """A feature state on a Redis server.

    Args:
        url: redis://host:port/database.
        name: of the model, which the keys carry.

    Raises:
        NoStateError: it holds no such state.
        InputError: the server does not answer.
    """

    def __init__(self, url: str, name: str):
        self._redis = _connected(url)
        self._name = name
        self._pending: Any = None
        generation = self._redis.get(f"cabb:{name}:generation")
        if generation is None:
            raise NoStateError(
                f"{url}: no feature state of {name}; `cabb ingest` makes one of the pushed version's"
            )
        self._prefix = f"cabb:{name}:{int(generation)}:"
        self._schema = kept_schema(self.facts().source)

    @classmethod
    def create(cls, url: str, name: str, snapshot: Snapshot) -> RedisStore:
        """A new generation from a snapshot; the one before is removed when it has taken over."""
        server = _connected(url)
        before = server.get(f"cabb:{name}:generation")
        generation = int(server.incr(f"cabb:{name}:last_generation"))
        prefix = f"cabb:{name}:{generation}:"
        facts = snapshot.facts
        with _pipe(server) as write:
            for part in snapshot.events():
                _put_events(write, prefix, part.select(*kept_schema(facts.source)))
            for row in snapshot.products.select(*CATALOG_SCHEMA).rows():
                write("hset", f"{prefix}products", row[0], json.dumps(row))
            for leaf, price in snapshot.leaf_prices.rows():
                write("hset", f"{prefix}leaf_prices", leaf, repr(price))
            for kind, each, day, *counts in snapshot.daily.select(*DAILY_SCHEMA).rows():
                write("hset", f"{prefix}daily:{kind}:{each}", day, json.dumps(counts))
            write("set", f"{prefix}facts", facts.model_dump_json())
        server.set(f"cabb:{name}:generation", generation)
        if before is not None:
            for keys in _chunks(server.scan_iter(f"cabb:{name}:{int(before)}:*", count=_AT_ONCE)):
                server.unlink(*keys)
        return cls(url, name)

    def facts(self) -> Facts:
        return Facts.model_validate_json(self._redis.get(f"{self._prefix}facts"))

    def events(self, users: Sequence[str]) -> pl.DataFrame:
        found = self._all(f"{self._prefix}users:{user}" for user in users)
        rows = [json.loads(event) for events in found for event in events.values()]
        return typed(rows, self._schema).sort(ORDER)

    def products(self, ids: Sequence[str]) -> pl.DataFrame:
        found = self._redis.hmget(f"{self._prefix}products", list(ids)) if ids else []
        return typed([json.loads(row) for row in found if row is not None], CATALOG_SCHEMA)

    def leaf_prices(self, leaves: Sequence[str]) -> dict[str, float]:
        found = self._redis.hmget(f"{self._prefix}leaf_prices", list(leaves)) if leaves else []
        return {leaf: float(price) for leaf, price in zip(leaves, found, strict=True) if price is not None}

    def daily(self, names: Mapping[str, Sequence[str]], since: int) -> pl.DataFrame:
        asked = [(kind, name) for kind, each in names.items() for name in each]
        found = self._all(f"{self._prefix}daily:{kind}:{name}" for kind, name in asked)
        rows = [
            (*who, int(day), *json.loads(counts))
            for who, days in zip(asked, found, strict=True)
            for day, counts in days.items()
            if int(day) >= since
        ]
        return typed(rows, DAILY_SCHEMA).sort("kind", "name", "day")

    @contextmanager
    def writing(self) -> Iterator[None]:
        with (
            self._redis.lock(f"cabb:{self._name}:lock", timeout=_LOCK_S),
            self._redis.pipeline(transaction=True) as pending,
        ):
            self._pending = pending
            yield
            pending.execute()

    def write(self, added: pl.DataFrame, dropped: pl.DataFrame, daily: pl.DataFrame, facts: Facts) -> None:
        write = lambda command, *given: getattr(self._pending, command)(*given)  # noqa: E731
        _put_events(write, self._prefix, added.select(*self._schema))
        for user, arrival in dropped.select("user_id", ARRIVAL).rows():
            write("hdel", f"{self._prefix}users:{user}", arrival)
        oldest = oldest_kept_day(facts.last_us)
        changed: dict[str, list[tuple]] = defaultdict(list)
        for kind, name, day, *counts in daily.select(*DAILY_SCHEMA).rows():
            changed[f"{self._prefix}daily:{kind}:{name}"].append((day, counts))
        for (key, days), before in zip(changed.items(), self._all(changed), strict=True):
            for day, counts in days:
                old = json.loads(before.get(str(day).encode(), b"null")) or [0] * len(COUNTED)
                write("hset", key, day, json.dumps([a + b for a, b in zip(old, counts, strict=True)]))
            for day in before:
                if int(day) < oldest:
                    write("hdel", key, day)
        write("set", f"{self._prefix}facts", facts.model_dump_json())

    def close(self) -> None:
        self._redis.close()

    def _all(self, keys: Iterable[str]) -> list[dict[bytes, bytes]]:
        """Whole hashes."""
        found = []
        for some in _chunks(keys):
            with self._redis.pipeline(transaction=False) as ask:
                for key in some:
                    ask.hgetall(key)
                found += ask.execute()
        return found


def _connected(url: str) -> redis.Redis:
    try:
        server = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=60)
        server.ping()
    except ValueError as error:
        raise InputError(f"{url}: no Redis URL, as redis://host:6379/0 is ({error})") from None
    except redis.RedisError as error:
        raise InputError(f"{url}: no Redis server answers ({error})") from None
    return server


def _put_events(write: Callable[..., Any], prefix: str, events: pl.DataFrame) -> None:
    user, arrival = (events.columns.index(name) for name in ("user_id", ARRIVAL))
    for row in plain(events):
        write("hset", f"{prefix}users:{row[user]}", row[arrival], json.dumps(row))


@contextmanager
def _pipe(server: redis.Redis) -> Iterator[Callable[..., Any]]:
    """A function that sends commands, many at a time."""
    with server.pipeline(transaction=False) as pending:

        def write(command: str, *given: Any) -> None:
            getattr(pending, command)(*given)
            if len(pending) >= _AT_ONCE:
                pending.execute()

        yield write
        pending.execute()


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for each in values:
        some.append(each)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
