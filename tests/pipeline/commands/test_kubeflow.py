"""Checking a compiled file and asking for help are light; a mistake is one line, before anything starts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.kubeflow import kubeflow
from tests.pipeline.kubeflow.compiled import IMAGE, document

ROOT = Path(__file__).resolve().parents[3]
HEAVY = "{'tensorflow', 'tfx', 'apache_beam', 'tensorflow_model_analysis'} & set(sys.modules)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(document()))
    return file


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
def test_it_is_light(file: Path, words: list[str]) -> None:
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


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `cabb kubeflow` says of words that it refuses, which is one line."""

    def said(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["cabb", "kubeflow", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code == 2 and not out
        assert err.startswith("cabb:") and err.count("\n") == 1
        return err

    return said


@pytest.mark.parametrize(
    "command", ["check", "run-local --pipeline-root x", "submit --host http://localhost:1"]
)
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("lambda=1", "did you mean lambda_cabb"),
        ("epochs=abc", "epochs: 'abc' is no NUMBER_INTEGER"),
        ("epochs=0", "epochs=0: Input should be greater than or equal to 1"),
        ("seed=-1", "seed=-1: Input should be greater than or equal to 0"),
        ("lambda_cabb=nan", "lambda_cabb: 'nan' is no NUMBER_DOUBLE"),
        ("lambda_cabb=.nan", "lambda_cabb=nan: Input should be a finite number"),
        ("model=nope", "no such model; choose one of cabb"),
        ("model=mal", "compile again with --set model=mal"),
        ("eval_start=2016-99-99", "eval_start=2016-99-99: Input should be a valid date"),
        ("train_start=2016-10-02", "train_start < eval_start < eval_end must hold"),
        ("events=[]", "events=[]: List should have at least 1 item"),
    ],
)
def test_an_argument_that_a_task_would_refuse_is_refused_at_once(
    file: Path, refusal: Callable[..., str], command: str, argument: str, words: str
) -> None:
    name, *options = command.split()
    assert words in refusal(name, file, *options, "--argument", argument)


@pytest.mark.parametrize(
    "words",
    [
        "run-local FILE --pipeline-root FILE --argument data_fingerprint=2016-10-10",
        f"compile --image {IMAGE} --output FILE/pipeline.yaml",
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(
    file: Path, refusal: Callable[..., str], words: str
) -> None:
    said = refusal(*words.replace("FILE", str(file)).split())
    assert f"{file}: results cannot be written there" in said


@pytest.mark.parametrize("words", [["--help"], ["run-local", "--help"]], ids=" ".join)
def test_examples_write_below_the_folder_one_is_in(words: list[str]) -> None:
    assert "--pipeline-root runs/" in CliRunner().invoke(kubeflow, words).output
