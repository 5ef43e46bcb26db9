"""The command line: one line per mistake, whatever characters it holds."""

import sys

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
