import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.simulate import simulate
from schemas.errors import InputError


def test_a_store_is_written_and_summarised(tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path / "store"), "--users", "300", "--seed", "5", "--days", "3"]
    first = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    for shown in ("purchase", "all events", "click examples", "true CABB rate", "events/s"):
        assert shown in first.output
    assert (tmp_path / "store" / "events" / "part-00000.parquet").exists()
    again = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert "complete already" in again.output


def test_an_impossible_world_is_bad_input(tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path / "store"), "--world", "drifted", "--days", "3"]
    with pytest.raises(InputError, match="drift_day"):
        CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert not (tmp_path / "store").exists()


def test_simulating_needs_no_tensorflow() -> None:
    heavy = "{'tfx', 'tensorflow'} & {*sys.modules}"
    code = f"import sys, pipeline.commands.simulate, simulator.store; print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
