"""The component declares what its executor does."""

import json
from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.events import LogSource
from tests.components.session_example_gen.logs import EVENTS, WINDOWS, event, write_csv

pytestmark = pytest.mark.slow  # loads TFX


def run(directory: Path, rows: list[dict]) -> tuple[Path, str]:
    """Executes the component on a log; the artifact's directory and its custom property `splits`."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

    from components import SessionExampleGen, Sessions

    node = SessionExampleGen(
        source=LogSource(events=[str(write_csv(directory / "log.csv", rows))]).model_dump_json(),
        windows=WINDOWS.model_dump_json(),
        fingerprint="f",
        code_hash="c",
        partitions=2,
    )
    assert node.outputs["sessions"].type is Sessions
    sessions = Sessions()
    sessions.uri = str(directory / "SessionExampleGen/sessions/7")
    context = BaseBeamExecutor.Context(beam_pipeline_args=["--runner=FnApiRunner"], unique_id="7")
    executor = node.executor_spec.executor_class(context)
    executor.Do({}, {"sessions": [sessions]}, node.exec_properties)
    return Path(sessions.uri), sessions.get_string_custom_property("splits")


def test_the_artifact_is_complete(tmp_path: Path) -> None:
    uri, splits = run(tmp_path, EVENTS)
    assert json.loads(splits) == ["train", "eval"]
    assert json.loads((uri / "counts.json").read_text())["read"] == len(EVENTS)
    assert sorted(path.relative_to(uri).as_posix() for path in uri.rglob("*.parquet")) == [
        f"Split-{split}/part-0000{part}-of-00002.parquet" for split in ("eval", "train") for part in (0, 1)
    ]


def test_refused_rows_outlive_the_artifact(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path / "SessionExampleGen/rejected")):
        run(tmp_path, [*EVENTS, event(user_id="")])
    assert list((tmp_path / "SessionExampleGen/rejected").glob("*.parquet"))
    assert not list((tmp_path / "SessionExampleGen/sessions").rglob("*.parquet"))
