"""The command line: one line per mistake, whatever characters it holds."""

import sys
from pathlib import Path

import pytest

from pipeline.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--config", "/[/a].yaml"], "/[/a].yaml"),
        (["run", "--set", "split.eval_start=2016-13-01"], "not valid YAML"),
        (["run", "--set", "nonsense"], "KEY=VALUE"),
        (["run", "--set", "name=../../[red]x"], "../../[red]x"),
        (["run", "--output", "/dev/null/x"], "/dev/null/x"),
        (["similar", "x", "--run", "/nowhere/[/b]"], "/nowhere/[/b]"),
        (["report", "--run", "/nowhere/[red]b"], "/nowhere/[red]b"),
        (["explain", "features", "--run", "/nowhere/[red]b"], "/nowhere/[red]b"),
        (["ab-test", "--control", "/nowhere/[red]b", "--treatment", "x"], "/nowhere/[red]b"),
        (["run", "--outptu", "x"], "No such option '--outptu'"),
        (["experiment", "windows", "--hours", "nan"], "nan is no finite number"),
        (["experiment", "tables", "--lambda", "inf"], "inf is no finite number"),
        (["experiment", "rolling", "--weeks", "9999999"], "not in the range"),
        (["experiment", "tables", "--output", "/dev/null/x"], "cannot be written there"),
        (["experiment", "relatedness", "--output", "/dev/null/x"], "cannot be written there"),
        (["attribution", "--output", "/dev/null/x"], "cannot be written there"),
        (["attribution", "--run", "/nowhere"], "the folder that has runs/latest"),
        (["tune", "--output", "/dev/null/x"], "cannot be written there"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cabb", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert words in said
    assert said.startswith("cabb:")
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["experiment", "tables", "--users", "9"], "the configuration names logs"),
        (["experiment", "recovery"], "needs a known truth"),
    ],
)
def test_what_needs_the_simulated_store_does_not_go_with_logs(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "logs.yaml"
    config.write_text("data: {events: [a.parquet]}\nsplit: {eval_start: 2016-10-01}\n")
    monkeypatch.setattr(sys, "argv", ["cabb", *arguments, "--config", str(config)])
    with pytest.raises(SystemExit):
        main()
    assert words in capfd.readouterr().err


def test_results_without_their_history_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "artifacts" / "Trainer").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["cabb", "run", "--output", str(tmp_path)])
    for written, words in ((None, "is gone"), (b"not a database", "is not a run history")):
        if written:
            (tmp_path / "metadata.sqlite").write_bytes(written)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert words in capfd.readouterr().err
