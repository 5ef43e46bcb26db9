"""Checking a compiled file and asking for help load neither TensorFlow nor TFX."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.kubeflow.compiled import document

ROOT = Path(__file__).resolve().parents[3]
HEAVY = "{'tensorflow', 'tfx', 'apache_beam', 'tensorflow_model_analysis'} & set(sys.modules)"


@pytest.mark.parametrize(
    "words",
    [
        ["kubeflow", "--help"],
        ["kubeflow", "submit", "--help"],
        ["lineage", "--help"],
        ["kubeflow", "check", "FILE"],
    ],
    ids=" ".join,
)
def test_it_is_light(tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(document()))
    words = [str(file) if each == "FILE" else each for each in words]
    script = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import cabb\n"
        f"result = CliRunner().invoke(cabb, {words!r}); assert result.exit_code == 0, result.output\n"
        f"assert 'Example' in result.output or 'nothing to mend' in result.output, result.output\n"
        f"heavy = {HEAVY}\nassert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
