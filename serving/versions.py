"""Which versions of a model are loaded: the largest numbers win, a new one loads before an old one goes.

Numbered directories below a model's base path are its versions. `poll` compares them with what is loaded. A
version that cannot be loaded ends with its error and is tried again when its files change; whatever served
before goes on serving. A version that is taken out of service answers the requests that already hold it, then
it is closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import grpc

from serving.errors import ServingError, invalid

_MAX_VERSION = 2**63 - 1


class State(IntEnum):
    """Life of a version; the numbers are those of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Closable(Protocol):
    """What a loader returns."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk should serve: the `latest` n, those named in `specific`, or all."""

    latest: int = 1
    specific: frozenset[int] = frozenset()
    all: bool = False

    def choose(self, found: set[int]) -> set[int]:
        """The versions to serve among those found."""
        if self.all:
            return found
        if self.specific:
            return found & self.specific
        return set(sorted(found)[-self.latest :])


@dataclass
class _Slot:
    """One version, from the first attempt to load it until it is closed."""

    path: Path
    state: State = State.START
    error: ServingError | None = None
    loaded: Any = None
    users: int = 0
    fingerprint: tuple = ()


@dataclass
class ModelVersions:
    """The versions of one model.

    Args:
        name: as requests call it.
        base_path: directory with a folder per version.
        load: makes a servable of a version's folder; a ServingError says why it cannot.
        policy: which versions should serve.
        labels: version by label.
    """

    name: str
    base_path: Path
    load: Callable[[Path], Closable]
    policy: VersionPolicy = VersionPolicy()
    labels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._lock = threading.Lock()
        self._polling = threading.Lock()

    def poll(self) -> None:
        """Loads what is new, then takes out of service what is no longer wanted."""
        with self._polling:
            found = versions_in(self.base_path)
            wanted = self.policy.choose(set(found))
            for number in sorted(wanted, reverse=True):
                self._load(number, found[number])
            with self._lock:
                serving = {n for n, slot in self._slots.items() if slot.state is State.AVAILABLE}
                # While nothing that is wanted serves, what served before stays.
                surplus = serving - wanted if serving & wanted or not wanted else set()
                retired = [self._retire(number) for number in sorted(surplus)]
            for slot in retired:
                self._close_unused(slot)

    @contextmanager
    def use(self, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, Any]]:
        """Holds a loaded version for the time of a request.

        Args:
            version: a number, or None for the largest that is loaded.
            label: instead of a number.

        Yields:
            The version's number and what the loader returned.

        Raises:
            ServingError: NOT_FOUND if it is not loaded, INVALID_ARGUMENT for an unknown label.
        """
        slot, number = self._acquire(version, label)
        try:
            yield number, slot.loaded
        finally:
            with self._lock:
                slot.users -= 1
            self._close_unused(slot)

    def available(self) -> list[int]:
        """Versions that serve, oldest first."""
        with self._lock:
            return sorted(n for n, slot in self._slots.items() if slot.state is State.AVAILABLE)

    def states(self) -> dict[int, tuple[State, ServingError | None]]:
        """State and error of every version seen so far, newest first."""
        with self._lock:
            return {
                n: (self._slots[n].state, self._slots[n].error) for n in sorted(self._slots, reverse=True)
            }

    def close(self) -> None:
        """Takes every version out of service."""
        with self._polling, self._lock:
            retired = [self._retire(n) for n, s in self._slots.items() if s.state is State.AVAILABLE]
        for slot in retired:
            self._close_unused(slot)

    def _acquire(self, version: int | None, label: str | None) -> tuple[_Slot, int]:
        with self._lock:
            if label is not None:
                if label not in self.labels:
                    raise invalid(f"Unrecognized servable version label: {label}")
                version = self.labels[label]
            serving = [n for n, slot in self._slots.items() if slot.state is State.AVAILABLE]
            number = max(serving, default=None) if version is None else version
            if number not in serving:
                raise not_found(self.name, version)
            slot = self._slots[number]
            slot.users += 1
            return slot, number

    def _load(self, number: int, path: Path) -> None:
        fingerprint = _fingerprint(path)
        with self._lock:
            slot = self._slots.get(number)
            if slot and (slot.state is not State.END or (slot.error and slot.fingerprint == fingerprint)):
                return
            slot = self._slots[number] = _Slot(path, State.LOADING, fingerprint=fingerprint)
        try:
            loaded = self.load(path)
        except Exception as error:  # whatever is wrong with a version, the server lives on
            refused = error if isinstance(error, ServingError) else None
            refused = refused or ServingError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
            logging.warning("%s version %d cannot be loaded: %s", self.name, number, refused.message)
            with self._lock:
                slot.state, slot.error = State.END, refused
            return
        with self._lock:
            slot.loaded, slot.state = loaded, State.AVAILABLE
        logging.info("%s version %d serves", self.name, number)

    def _retire(self, number: int) -> _Slot:
        slot = self._slots[number]
        slot.state = State.UNLOADING
        return slot

    def _close_unused(self, slot: _Slot) -> None:
        with self._lock:
            if slot.state is not State.UNLOADING or slot.users or slot.loaded is None:
                return
            loaded, slot.loaded = slot.loaded, None
        loaded.close()
        with self._lock:
            slot.state = State.END


def versions_in(base_path: Path) -> dict[int, Path]:
    """Version folders by number; anything that is not a folder named by digits is ignored."""
    try:
        folders = [p for p in base_path.iterdir() if p.name.isascii() and p.name.isdigit() and p.is_dir()]
    except OSError:
        return {}
    return {int(p.name): p for p in folders if int(p.name) <= _MAX_VERSION}


def not_found(name: str, version: int | None) -> ServingError:
    """NOT_FOUND, in the words of TensorFlow Serving."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")


def _fingerprint(path: Path) -> tuple:
    """Changes when a file of the version does."""
    files = []
    for each in sorted(path.rglob("*")):
        try:
            stat = each.stat()
        except OSError:
            continue
        files.append((str(each), stat.st_size, stat.st_mtime_ns))
    return tuple(files)
