"""Configuration: defaults that run, and refusals that say what to write instead."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.config import Config, load_config
from pipeline.run_inputs import last_days
from schemas.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    config = load_config(None)
    assert config.data is None
    assert config.output.is_absolute()


def test_resolved_config_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config(None, {"output": str(tmp_path)})
    again = load_config(write(tmp_path / "config.yaml", config.to_yaml()))
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: {}", "unknown key 'modle'; did you mean 'model'?"),
        ("model: {lamda_cabb: 0.5}", "unknown key 'model.lamda_cabb'; did you mean 'lambda_cabb'?"),
        ("data: {evnts: [a.parquet]}", "did you mean 'events'?"),
        (
            "attribution: {views: [linear]}\nlabels: {label_policy: per_purchase}",
            "need labels.label_policy per_click",
        ),
        (
            "attribution: {mta: {method: markov}}\ndata: {events: [a.parquet]}",
            "'channel' is none of advertiser, leaf",
        ),
        ("zzzz: 1", "known keys: name, output"),
        ("beam: {partitions: many}", "beam.partitions"),
        ("store: atlantis", "choose one of default"),
        ("store: {name: [a]}", "choose one of default"),
        ("model: nope", "choose one of cabb"),
        ("model: {model: nope}", "model.model: no such model; choose one of cabb"),
        ("model: [1]", "model: should be a mapping of keys to values, got [1]"),
        ("model: {bottom_units: [64, 0]}", "model.bottom_units.1: Input should be greater"),
        ("model: {seed: -5}", "model.seed: Input should be greater than or equal to 0"),
        ("model: {views: [linear, linear]}", "model.views: names one twice: linear, linear"),
        ("anomalies: {allow: [sesion_carts]}", "no column 'sesion_carts' in click examples"),
        ("split: {eval_start: 2016-10-01, eval_end: 2016-09-01}", "must hold; got 2016-10-01, 2016-09-01"),
        ("split: {eval_start: 2016-10-01, holdout_days: 99999999}", "less than or equal to 3650"),
        ("store: {start_date: 9999-12-31}", "store.start_date: Input should be less than or equal to 2199"),
        ("store: {seed: -1}", "store.seed: Input should be greater than or equal to 0"),
        ("labels: {window: {hours: 1.0e+12}}", "hours: Input should be less than or equal to 87600"),
        ("model: {calibration: platt}\nsplit: {eval_start: 2016-02-20}", "set split.holdout_days"),
        ("model: {model: mal_cabb, lambda_cabb: bilevel}", "bilevel is for the model cabb"),
        ("split: {eval_start: 2016-02-30}", "not valid YAML"),
        ("gate: {calibration: [2, 1]}", "lower bound must be below"),
        ("gate: {max_ne: {p_caba: .nan}}", "gate.max_ne.p_caba"),
        ("gate: {slices: [nope]}", "no column 'nope'"),
        ("model: {dense_learning_rate: .inf}", "finite"),
        ("a: &x [1]\nb: *x", "aliases are not supported"),
        ("name: a\nname: b", "key 'name' stands twice"),
        ("[" * 3000, "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("[1, 2]", "a configuration is a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "my.yaml", text)
    with pytest.raises(InputError) as error:
        load_config(path)
    message = str(error.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    assert "Value error" not in message


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "my.yaml", "model: {epochs: 2}")
    with pytest.raises(InputError, match=r"^the command line: model\.epochs: .*, got -1$"):
        load_config(path, {"model.epochs": -1})
    with pytest.raises(InputError, match=r"my\.yaml: model\.epochs"):
        load_config(write(path, "model: {epochs: -2}"), {"model.seed": 3})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "my.yaml", "model: {lambda_cabb: 0.25}")
    assert load_config(path, {"model.lambda_cabb": 0.5}).model.lambda_cabb == 0.5


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "my.yaml", yaml.safe_dump({"data": {"events": ["logs/*.parquet"]}}))
    assert load_config(path).data.events == [str(tmp_path / "logs" / "*.parquet")]


def test_digest_follows_what_decides_the_result_only(tmp_path: Path) -> None:
    base = Config()
    assert base.model_copy(update={"output": tmp_path}).digest() == base.digest()
    assert load_config(None, {"model.lambda_cabb": 0.11}).digest() != base.digest()
    assert load_config(None, {"beam.partitions": 3}).digest() != base.digest()


def test_a_store_is_a_preset_and_its_changes(tmp_path: Path) -> None:
    preset = load_config(None, {"store": "long_journeys"}).store
    changed = load_config(None, {"store": {"name": "long_journeys", "users": 7}}).store
    assert preset.users != 7
    assert changed == preset.model_copy(update={"users": 7})


def test_a_model_may_be_named_alone(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "my.yaml", "model: last_click")).model.model == "last_click"


def test_an_override_keeps_a_short_form(tmp_path: Path) -> None:
    path = write(tmp_path / "my.yaml", "model: last_click\nstore: high_cabb")
    config = load_config(path, {"model.lambda_cabb": 0.5, "store.users": 9})
    assert (config.model.model, config.model.lambda_cabb) == ("last_click", 0.5)
    assert (config.store.name, config.store.users) == ("high_cabb", 9)
    assert load_config(None, {"model": "caba_only", "model.lambda_cabb": 0.1}).model.model == "caba_only"


def test_an_override_below_a_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"name\.first: name is 'cabb'"):
        load_config(None, {"name": "cabb", "name.first": 1})


def test_a_store_is_evaluated_on_days_that_are_old_enough() -> None:
    config = load_config(None, {"labels.window": {"hours": 60}})
    assert config.label_days() == 2.5
    days = last_days(config.store, config.label_days())
    whole = last_days(config.store)
    assert days.eval_end == whole.eval_end
    assert days.eval_start == whole.eval_start - timedelta(days=3)
    assert load_config(None, {}).label_days() == 0
