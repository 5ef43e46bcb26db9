"""The serving directory: what a published version is, where it came from, and which one is in production.

    <serving_dir>/
      3/                                        one version: a SavedModel, complete or not there at all
        saved_model.pb, variables/, assets/
        assets.extra/
          cabb.json                             the features it reads, its outputs and settings
          lineage.json                          `Lineage`: run, data, settings, figures of the verdict
          schema.pbtxt                          of its raw features
          training_statistics.pb                what the version learned from, for drift and skew
          feature_state/                        users, items and days as of the last event, for live features
          tf_serving_warmup_requests            what TensorFlow Serving asks before it serves the version
      last_version                              the largest number ever given out

TensorFlow Serving loads the largest integer and ignores everything else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.errors import InputError
from schemas.settings import Settings

LINEAGE_FILE = Path("assets.extra", "lineage.json")
SCHEMA_FILE = Path("assets.extra", "schema.pbtxt")
FEATURE_STATE_DIR = Path("assets.extra", "feature_state")
STATISTICS_FILE = Path("assets.extra", "training_statistics.pb")
LAST_VERSION_FILE = "last_version"
_NUMBER = re.compile(r"[1-9][0-9]*")


class Lineage(Settings):
    """Where a version came from.

    The runner fills in what it knows before the run; the pusher adds `version`, `parent_version`,
    `production_at_start`, `schema_hash` and `metrics`. Dates are days in the store's time zone, ISO format;
    an end is exclusive.
    """

    run_key: str
    """Hash of data, configuration and code: two runs with one key make the same model."""
    run_id: str = ""
    data_fingerprint: str = ""
    config_hash: str = ""
    arguments: dict[str, Any] = {}
    """What a compiled pipeline was given at submission, on top of the settings that `config_hash` names."""
    code_hash: str = ""
    git_commit: str | None = None
    image: str | None = None
    """The container image of the run's tasks, by digest; none when it ran in a local environment."""
    production_at_start: int | None = None
    """The version in production when the baseline was chosen, 0 for none: a push is refused when it changed
    since."""
    train_start: str | None = None
    train_end: str | None = None
    eval_start: str | None = None
    eval_end: str | None = None
    created: str | None = None
    schema_hash: str | None = None
    version: int | None = None
    parent_version: int | None = None
    metrics: dict[str, float | None] = {}
    """`<output>/<metric>` on the whole eval split; null where the metric is not a finite number."""

    def to_json(self) -> str:
        """Readable JSON, the same text for the same lineage."""
        return json.dumps(self.model_dump(), indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Version:
    """One published version."""

    number: int
    path: Path
    lineage: Lineage | None
    """None: something else than this pipeline put it there."""

    @property
    def statistics(self) -> Path | None:
        """The statistics of its training split, if they were kept."""
        path = self.path / STATISTICS_FILE
        return path if path.is_file() else None


def _read_lineage(path: Path) -> Lineage | None:
    file = path / LINEAGE_FILE
    if not file.is_file():
        return None
    try:
        return Lineage.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        words = "not UTF-8"
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            words = f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
        raise InputError(f"{file}: {words}; move version {path.name} out of the serving directory") from error


def versions(serving_dir: str | Path) -> list[Version]:
    """Published versions, oldest first. A missing directory has none.

    Raises:
        InputError: a lineage.json that cannot be read.
    """
    root = Path(serving_dir)
    if not root.is_dir():
        return []
    folders = [p for p in root.iterdir() if p.is_dir() and _NUMBER.fullmatch(p.name)]
    return [Version(int(p.name), p, _read_lineage(p)) for p in sorted(folders, key=lambda p: int(p.name))]


def production(serving_dir: str | Path) -> Version | None:
    """The version that TensorFlow Serving would load: the largest number."""
    return next(reversed(versions(serving_dir)), None)


def baseline(serving_dir: str | Path, run_key: str) -> Version | None:
    """What a run is compared with: production, or its parent when this very run made production.

    An identical rerun is thus judged as the first run was, and not against itself.
    """
    published = versions(serving_dir)
    current = next(reversed(published), None)
    if current is None or current.lineage is None or current.lineage.run_key != run_key:
        return current
    return next((v for v in published if v.number == current.lineage.parent_version), None)


def baseline_state(serving_dir: str | Path, run_key: str) -> str:
    """What a run's gates see of the serving directory, for the cache keys of AnomalyGate and BaselineModel.

    It stays the same when the run itself is pushed, so an identical rerun is answered from the cache.
    """
    version = baseline(serving_dir, run_key)
    if version is None:
        return "none"
    return f"{version.number}:{version.lineage.run_key if version.lineage else 'unknown'}"


def push_state(serving_dir: str | Path, run_key: str) -> str:
    """The version that a run's push leads to, for the cache key of VersionedPusher.

    It is the same before and after the push, so an identical rerun is answered from the cache; once the
    version was deleted it is another one, so a cached push never stands for a version that is not there.
    """
    current = production(serving_dir)
    if current is not None and current.lineage is not None and current.lineage.run_key == run_key:
        return f"version {current.number}"
    return f"version {next_number(serving_dir)}"


def next_number(serving_dir: str | Path) -> int:
    """A number above every version there is or ever was: a deleted version's number does not come back."""
    root = Path(serving_dir)
    numbers = [v.number for v in versions(root)]
    counter = root / LAST_VERSION_FILE
    if counter.is_file():
        text = counter.read_text(encoding="utf-8").strip()
        if not _NUMBER.fullmatch(text):
            raise InputError(
                f"{counter} holds {text!r} instead of a version number; write the last one into it"
            )
        numbers.append(int(text))
    return max(numbers, default=0) + 1
