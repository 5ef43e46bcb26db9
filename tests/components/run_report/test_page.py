"""The page and results.json: self-contained, escaped, deterministic, whole when there is little to show."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from components.evaluator.verdict import Verdict
from components.run_report.judgement import ReportSettings
from components.run_report.page import render
from components.run_report.results import RESULTS_FILE, Baseline, Push, compose, load_results, save_results
from pipeline.commands.report import print_results
from schemas.errors import InputError
from tests.components.run_report.made_up_run import (
    FAILED,
    HOSTILE,
    LABEL_COUNTS,
    PASSED,
    SESSION_COUNTS,
    only,
    run_record,
    scored_clicks,
    similarity_table,
    without_conversions,
)

SETTINGS = ReportSettings(resamples=100)
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags with attributes and visible text, and checks that tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ").split())


def results_of(**changes) -> dict:
    return compose(run_record(**changes), scored_clicks(), SETTINGS)


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = render(results_of())
    page = Page(html)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name in ("src", "srcset", "data", "action", "xlink:href"):
            assert name not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|https?:", html)
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= targets


def test_hostile_names_are_shown_as_text() -> None:
    html = render(results_of(verdict=Verdict(False, (PASSED, FAILED)), push=Push()))
    page = Page(html)
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>cannot" not in html
    assert HOSTILE in page.text
    assert "event_time <b>cannot</b> be read" in page.text
    assert "calibration is <not> a number" in page.text


def test_the_same_run_gives_the_same_bytes(tmp_path) -> None:
    results = results_of()
    saved = save_results(results, tmp_path / "one")
    assert saved.read_bytes() == save_results(results_of(), tmp_path / "two").read_bytes()
    assert render(results) == render(results_of())
    assert render(load_results(tmp_path / "one")) == render(results)
    assert sorted(path.name for path in saved.parent.iterdir()) == [RESULTS_FILE]


def test_the_verdict_comes_first_in_words() -> None:
    pushed = Page(render(results_of())).text
    assert "Pushed: version 4 is ready to serve" in pushed
    assert re.search(r"It predicts conversions [\d.]+ % better than production", pushed)
    assert pushed.index("Pushed: version 4") < pushed.index("Normalised entropy")
    slow = Page(render(results_of(serving=("p99 of 100 rows is 900 ms (allowed: 250)",), push=Push()))).text
    assert "Not pushed" in slow and "p99 of 100 rows is 900 ms" in slow and "Passed every check" not in slow
    blocked = Page(render(results_of(verdict=Verdict(False, (PASSED, FAILED)), push=Push()))).text
    assert "Not pushed: production keeps version 3" in blocked
    assert "1 of 2 checks failed: p_caba: calibration is <not> a number" in blocked
    first = Page(render(results_of(baseline=Baseline()))).text
    assert "There was no model in production" in first


def test_passing_every_check_is_not_yet_pushed() -> None:
    verdict = results_of(push=Push())["verdict"]
    assert (verdict["state"], verdict["pushed"]) == ("held", False)


def test_accounting_adds_up_and_is_shown() -> None:
    results = results_of()
    data = results["data"]
    assert sum(line["rows"] for line in data["ledger"]) == data["read"] == SESSION_COUNTS["read"]
    page = Page(render(results)).text
    for rows in ("9,000", "1,000", "2,000", "300", "12,345"):
        assert rows in page
    assert "not accounted for" not in page
    assert [line["reason"] for line in data["rejected"]] == [
        "no product_id",
        "event_time <b>cannot</b> be read",
    ]
    lost = results_of(session_counts=SESSION_COUNTS | {"read": 12_400})
    assert "55 rows are not accounted for" in Page(render(lost)).text


def test_label_shares_split_the_converting_clicks() -> None:
    for split in results_of()["labels"]:
        parts = split["only_caba"] + split["both"] + split["only_cabb"]
        assert parts == split["positives"]["y_any"] == 90
        assert split["both"] == 20


def test_an_outage_of_the_log_is_told_in_the_store_s_time() -> None:
    words = results_of()["outage"]
    assert "no purchase is logged from 2024-03-0" in words and "22 clicks are left out" in words
    assert words in Page(render(results_of())).text
    assert "Outage" not in Page(render(results_of(label_counts={**LABEL_COUNTS, "outages": []}))).text


def test_what_is_not_defined_is_said_with_its_reason() -> None:
    nothing = {**LABEL_COUNTS["eval"], "y_caba": 0, "y_cabb": 0, "y_any": 0, "alpha_mean": None}
    record = run_record(
        label_counts={**LABEL_COUNTS, "eval": nothing | {"alpha_histogram": [0] * 20}},
        similarity=similarity_table(leaves=1),
        training=[],
        baseline=Baseline(),
        verdict=Verdict(False, (FAILED,)),
        push=Push(),
    )
    for clicks in (without_conversions(scored_clicks()), only(scored_clicks(), np.zeros(900, bool))):
        results = compose(record, clicks, SETTINGS)
        page = Page(render(results))
        assert "not defined" in page.text
        assert "nan" not in page.text.lower().split()
        assert "Fewer than two categories" in page.text
        assert "fewer than two points" in page.text
    assert "there are no evaluation clicks" in page.text


def test_results_are_strict_json(tmp_path) -> None:
    results = results_of()
    results_text = save_results(results, tmp_path).read_text()
    assert json.loads(results_text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == results


def test_a_folder_of_runs_is_told_from_a_run(tmp_path) -> None:
    (tmp_path / "runs" / "latest").mkdir(parents=True)
    with pytest.raises(InputError, match=r"name one of them, as in .*runs/latest"):
        load_results(tmp_path)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 0}'])
def test_unreadable_results_are_one_clear_line(tmp_path, content: str | None) -> None:
    if content is not None:
        (tmp_path / RESULTS_FILE).write_text(content)
    with pytest.raises(InputError, match="cabb run") as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width", [80, 130])
def test_the_terminal_shows_verdict_and_metrics(width: int) -> None:
    console = Console(width=width, file=None, record=True, force_terminal=False)
    with console.capture() as captured:
        print_results(results_of(verdict=Verdict(False, (PASSED, FAILED)), push=Push()), console)
    text = captured.get()
    assert "Not pushed" in text
    assert "calibration is <not> a number" in text
    assert all(output in text for output in ("p_conversion", "p_caba", "p_cabb", "by alpha"))
    assert "GAUC" in text
    assert ("interval of change" in text) == (width > 100)
    assert max(map(len, text.splitlines())) <= width


def test_gates_and_combinations_of_views_are_shown_when_the_model_has_them() -> None:
    gate = {"experts": {"linear 1": 0.7, "shared 1": 0.3}, "entropy": 0.881}
    cat = {
        "classes": [{"views": [], "share": 0.9}, {"views": ["linear", "mta"], "share": 0.1}],
        "unreachable": 7,
        "rows_of_unreachable": 0,
    }
    record = run_record(inside={"gates": {"level 1, linear": gate}, "cat": cat})
    text = " ".join(Page(render(compose(record, scored_clicks(), SETTINGS))).texts)
    for words in (
        "Which experts each task uses",
        "linear 1",
        "0.70",
        "0.88",
        "linear, mta",
        "no view",
        "10.0",
    ):
        assert words in text
    bare = " ".join(Page(render(compose(run_record(), scored_clicks(), SETTINGS))).texts)
    assert "Which experts" not in bare and "combination task" not in bare


def test_what_calibration_changed_is_shown_by_head() -> None:
    clicks = scored_clicks()
    doubled = {output: np.minimum(2 * p, 1) for output, p in clicks.candidate.items()}
    results = compose(run_record(), replace(clicks, uncalibrated=doubled), SETTINGS)
    for head in results["heads"]:
        assert head["before_calibration"]["calibration"] > 1.5 * head["candidate"]["calibration"]
    assert "What calibration changed" in render(results)
    assert "What calibration changed" not in render(compose(run_record(), clicks, SETTINGS))
