"""Everything a run found, as plain JSON: what the page shows, `cabb run` prints and others can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from components.run_report import formats
from components.run_report.accounting import label_shares, outage_words, row_ledger
from components.run_report.judgement import HEADS, ReportSettings, ScoredClicks, judge_heads, judge_slices
from components.run_report.relatedness import relatedness
from models import features
from schemas.errors import InputError
from schemas.output import write_whole

if TYPE_CHECKING:
    from components.category_similarity.similarity import SimilarityTable
    from components.evaluator.verdict import Verdict

PAGE_FILE = "report.html"
RESULTS_FILE = "results.json"
FORMAT = 2
_TITLES = dict(HEADS)
_DISTANCES = 8


@dataclass(frozen=True)
class Push:
    """Where the new model went. `version` and `path` are None when it was not pushed."""

    version: int | None = None
    path: str | None = None


@dataclass(frozen=True)
class Baseline:
    """What the new model was compared with: `kind` is production or prior (base rates; `version` is None)."""

    kind: str = "prior"
    version: int | None = None
    train_start: str | None = None
    train_end: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """What the parts of a run left behind, read from their artifacts.

    Attributes:
        session_counts: `counts.json` of the sessions.
        label_counts: `label_counts.json` of the click examples.
        similarity: the category similarity table.
        training: `training.json`, one mapping per logged window.
        inside: `inside.json`, what the model shows of itself; often nothing.
        anomalies: `anomalies.json` of the anomaly gate.
        verdict: the gate's answer.
        serving: why the serving check refused the model, a sentence each; empty if it did not.
        push, baseline: see there.
        configuration: all settings of the run.
        lineage: names and values that identify the run and its parts, in the order shown.
        run_key: hash of data, settings and code, if known.
        time_zone: in which days are cut.
    """

    session_counts: Mapping[str, Any]
    label_counts: Mapping[str, Any]
    similarity: SimilarityTable
    training: Sequence[Mapping[str, Any]]
    inside: Mapping[str, Any]
    anomalies: Mapping[str, Any]
    verdict: Verdict
    push: Push
    baseline: Baseline
    serving: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    lineage: Sequence[tuple[str, str]] = ()
    run_key: str | None = None
    time_zone: str = "UTC"


def compose(record: RunRecord, clicks: ScoredClicks, settings: ReportSettings) -> dict[str, Any]:
    """The results of a run: JSON types only, None for the undefined; equal inputs give equal results."""
    heads = judge_heads(clicks, settings)
    baseline = _baseline(record.baseline)
    return _without_nan(
        {
            "format": FORMAT,
            "run": {
                "name": str(record.configuration.get("name", "cabb")),
                "key": record.run_key,
                "eval_days": _days(clicks, record.time_zone),
                "time_zone": record.time_zone,
                "eval_rows": len(clicks),
                "eval_users": len(set(clicks.user.tolist())),
            },
            "verdict": _verdict(record, heads, baseline, settings),
            "baseline": baseline,
            "heads": heads,
            "slices": judge_slices(clicks, settings),
            "data": row_ledger(record.session_counts),
            "labels": label_shares(record.label_counts),
            "outage": outage_words(record.label_counts, record.time_zone),
            "similarity": relatedness(record.similarity, settings),
            "training": [dict(row) for row in record.training],
            "inside": {"gates": {}, "cat": None, **record.inside},
            "anomalies": {
                "found": list(record.anomalies.get("anomalies", [])),
                "distances": list(record.anomalies.get("distances", []))[:_DISTANCES],
            },
            "configuration": dict(record.configuration),
            "lineage": [{"name": name, "value": value} for name, value in record.lineage],
            "method": {"resamples": settings.resamples, "level": settings.level, "seed": settings.seed},
        }
    )


def save_results(results: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes results.json whole or not at all; returns its path."""
    return write_whole(Path(folder) / RESULTS_FILE, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def load_results(path: str | Path) -> dict[str, Any]:
    """Reads results.json, given it or the folder that holds it.

    Raises:
        InputError: there is none, or it is not one of this version's.
    """
    path = Path(path)
    newest = path / "runs" / "latest"
    if newest.is_dir():
        raise InputError(f"{path}: the output of several runs; name one of them, as in {newest}")
    path = path / RESULTS_FILE if path.is_dir() else path
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no readable results ({error}); finish a run with `cabb run` first"
        ) from None
    if not isinstance(results, dict) or results.get("format") != FORMAT or "verdict" not in results:
        raise InputError(f"{path}: not results of this version of cabb; run `cabb run` again")
    return results


def _verdict(
    record: RunRecord, heads: list[dict[str, Any]], baseline: dict[str, Any], settings: ReportSettings
) -> dict[str, Any]:
    push, old = record.push, record.baseline.version
    checks = [
        {**asdict(check), "title": _TITLES.get(check.output, check.output)} for check in record.verdict.checks
    ]
    failed = [check for check in checks if not check["passed"]]
    if push.version is not None:
        state, headline = "pushed", f"Pushed: version {push.version} is ready to serve"
    elif failed or record.serving or not record.verdict.pushed:
        keeps = f"production keeps version {old}" if old else "nothing is in production"
        state, headline = "blocked", f"Not pushed: {keeps}"
    else:
        state, headline = "held", "Passed every check, but was not pushed"
    return {
        "state": state,
        "pushed": push.version is not None,
        "version": push.version,
        "path": push.path,
        "production_version": old,
        "headline": headline,
        "sentences": [
            *_sentences(heads[0], baseline, checks, failed, settings),
            *(["It does not serve as it should."] if record.serving else []),
        ],
        "reasons": [*(check["words"] for check in failed), *record.serving],
        "checks": checks,
    }


def _sentences(
    head: dict[str, Any],
    baseline: dict[str, Any],
    checks: list[dict[str, Any]],
    failed: list[dict[str, Any]],
    settings: ReportSettings,
) -> list[str]:
    """The product's score in one sentence, and what the gate said."""
    change, candidate = head["change"], head["candidate"]
    size = formats.change(abs(change["relative"])).lstrip("+") if change["relative"] is not None else ""
    bounds = formats.change_interval(change["interval"])
    level = formats.percent(settings.level, 0)
    measured = f"normalised entropy {formats.change(change['relative'])}, {level} interval {bounds}"
    words = {
        "better": f"It predicts conversions {size} better than {baseline['short']} ({measured}).",
        "worse": f"It predicts conversions {size} worse than {baseline['short']} ({measured}).",
        "tie": f"It predicts conversions about as well as {baseline['short']}: the difference is inside"
        f" the noise ({measured}).",
    }
    comparison = words.get(
        change["words"], f"It cannot be compared with {baseline['short']}: {change['undefined']}."
    )
    answer = [comparison]
    if candidate["calibration"] is not None:
        answer.append(_calibration_words(candidate["calibration"]))
    if failed:
        answer.append(
            "The check failed:" if len(checks) == 1 else f"{len(failed)} of {len(checks)} checks failed:"
        )
    elif checks:
        answer.append(f"All {len(checks)} checks passed." if len(checks) > 1 else "The check passed.")
    return answer


def _calibration_words(ratio: float) -> str:
    off = ratio - 1
    if abs(off) < 0.005:
        return "It promises as many conversions as there were."
    side = "more" if off > 0 else "fewer"
    return f"It promises {formats.percent(abs(off))} {side} conversions than there were."


def _baseline(baseline: Baseline) -> dict[str, Any]:
    if baseline.kind == "production":
        words, notes = f"version {baseline.version}, in production", []
        if baseline.train_end:
            last = date.fromisoformat(baseline.train_end[:10]) - timedelta(days=1)
            start = f"{baseline.train_start} to " if baseline.train_start else "days up to "
            notes = [f"Version {baseline.version} learned from {start}{last.isoformat()}."]
        return {**asdict(baseline), "words": words, "short": "production", "notes": notes}
    note = (
        "There was no model in production to compare with, so the new one is compared with base rates:"
        " every click gets the training average."
    )
    return {**asdict(baseline), "words": "base rates", "short": "base rates", "notes": [note]}


def _days(clicks: ScoredClicks, time_zone: str) -> list[str] | None:
    if not len(clicks):
        return None
    ends = (int(clicks.event_time_us.min()), int(clicks.event_time_us.max()))
    return [datetime.fromtimestamp(us / 1e6, ZoneInfo(time_zone)).date().isoformat() for us in ends]


def _without_nan(tree: Any) -> Any:
    """JSON has no NaN: None stands for it."""
    if isinstance(tree, dict):
        return {str(key): _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    return tree


def head_of(results: Mapping[str, Any], output: str = features.P_CONVERSION) -> Mapping[str, Any]:
    """The entry of one served output."""
    return next(head for head in results["heads"] if head["output"] == output)
