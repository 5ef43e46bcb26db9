"""Importance of a served model whose formula is known."""

import json
import sys

import numpy as np
import pytest

from components.run_report.results import FORMAT
from experiments.feature_importance.findings import findings
from experiments.feature_importance.permutation import Sums
from models import features as names
from models.feature_groups import FAMILIES, GROUPS, members
from models.metrics.sums import USER_GROUPS, cross_entropy, entropy
from models.signatures import is_model_input

ROWS = 3000
READ = {
    names.P_CABA: "user_item_clicks",
    names.P_CABB: "item_caba_rate_28d",
    names.P_CONVERSION: "session_carts",
}


def test_every_input_is_in_one_group_and_every_group_in_one_family():
    inputs = (*names.CATEGORICAL, *names.CALENDAR, *names.SEQUENCES, *names.NUMERIC, "context_channel")
    assert all(map(is_model_input, inputs))
    grouped = [name for group in GROUPS for name in members(group, inputs)]
    assert sorted(grouped) == sorted(inputs)
    assert sorted(group for groups in FAMILIES.values() for group in groups) == sorted(GROUPS)


def test_the_paper_is_judged_by_shares():
    """A made-up importance in which popularity is all of CABB and the item's history all of CABA."""
    rng = np.random.default_rng(0)
    clicks = np.full(USER_GROUPS, 5.0)
    base = {output: np.full(USER_GROUPS, 1.0) for output in READ}
    permuted = {name: {o: np.tile(base[o], (3, 1)) for o in READ} for name in (*GROUPS, *FAMILIES)}
    for name, output in (("personal", names.P_CABA), ("popularity", names.P_CABB)):
        permuted[name][output] = base[output] + rng.uniform(0.1, 0.3, (3, USER_GROUPS))
    one = findings(Sums(clicks, {o: np.full(USER_GROUPS, 1.0) for o in READ}, base, permuted))
    assert [each["verdict"] for each in one["claims"]] == ["holds"] * 3
    assert one["claims"][0]["share_caba"] == 1.0
    permuted["personal"], permuted["popularity"] = permuted["popularity"], permuted["personal"]
    other = findings(Sums(clicks, {o: np.full(USER_GROUPS, 1.0) for o in READ}, base, permuted))
    assert [each["verdict"] for each in other["claims"]] == ["the opposite holds"] * 3
    # Without users that differ there is nothing to resample: 0.2 nats over the entropy of 1 in 5.
    permuted["session state"][names.P_CABB] = np.tile(base[names.P_CABB] + 1.0, (3, 1))
    (head,) = (
        each for each in findings(Sums(clicks, base, base, permuted))["heads"] if "cabb" in each["output"]
    )
    assert head["groups"][0]["name"] == "session state"
    assert head["groups"][0]["rise"] == pytest.approx(0.2 / entropy(0.2))
    np.testing.assert_allclose(head["groups"][0]["interval"], 0.2 / entropy(0.2))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder: results.json, eval examples and a model that reads one feature per head."""
    import tensorflow as tf

    from tests.components.click_examples import click_columns, write_examples

    home = tmp_path_factory.mktemp("run")
    columns = click_columns(ROWS, context=("channel",))
    rng = np.random.default_rng(1)
    signal = {
        output: (np.asarray(columns[name], np.float64) - np.mean(columns[name])) / np.std(columns[name])
        for output, name in READ.items()
    }
    for output, label in names.LABEL_OF_OUTPUT.items():
        columns[label] = rng.random(ROWS) < 1 / (1 + np.exp(2 - 1.5 * signal[output]))
    write_examples(home / "examples", eval=columns)

    inputs = [name for name in columns if is_model_input(name)]
    kinds = {name: tf.float32 for name in names.NUMERIC} | {name: tf.int64 for name in names.CALENDAR}
    signature = {
        name: tf.TensorSpec(
            [None, None] if name in names.SEQUENCES else [None], kinds.get(name, tf.string), name=name
        )
        for name in inputs
    }

    class Model(tf.Module):
        @tf.function
        def raw(self, **row):
            scaled = {o: (row[n] - np.mean(columns[n])) / np.std(columns[n]) for o, n in READ.items()}
            touched = tf.add_n([tf.zeros_like(row["price"]) for _ in inputs])
            return {o: tf.sigmoid(1.5 * z - 2 + touched)[:, None] for o, z in scaled.items()}

    model = Model()
    folder = home / "Format-Serving"
    tf.saved_model.save(model, str(folder), {"raw": model.raw.get_concrete_function(**signature)})
    lineage = [
        {"name": "Examples", "value": str(home / "examples")},
        {"name": "Model", "value": str(home)},
    ]
    (home / "results.json").write_text(
        json.dumps(
            {
                "format": FORMAT,
                "run": {"name": "made up", "key": "k"},
                "verdict": {"path": None},
                "lineage": lineage,
                "configuration": {"model": {"model": "cabb"}},
            }
        )
    )
    return home, columns, signal


@pytest.mark.slow
def test_the_command_finds_what_each_head_reads(run, tmp_path, monkeypatch, capsys):
    from pipeline.cli import main

    home, columns, signal = run
    arguments = ["explain", "features", "--run", str(home), "--output", str(tmp_path), "--repeats", "2"]
    monkeypatch.setattr(sys, "argv", ["cabb", *arguments])
    main()
    assert "session state" in capsys.readouterr().out
    results = json.loads((tmp_path / "feature_importance.json").read_text())
    page = (tmp_path / "feature_importance.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert results["run"]["rows"] == ROWS
    owner = {name: group for group in GROUPS for name in GROUPS[group]}
    order = [np.random.default_rng([0, repeat]).permutation(ROWS) for repeat in range(2)]
    for head in results["heads"]:
        output = head["output"]
        y = np.asarray(columns[names.LABEL_OF_OUTPUT[output]], np.float64)

        def loss(z, y=y):
            return cross_entropy(y, 1 / (1 + np.exp(2 - 1.5 * z))).mean()

        z = signal[output]
        expected = np.mean([loss(z[o]) for o in order]) - loss(z)
        top, *others = head["groups"]
        assert top["name"] == owner[READ[output]]
        assert top["rise"] == pytest.approx(expected / entropy(y.mean()), rel=1e-4)
        assert top["interval"][0] > 0
        assert all(each["rise"] == 0 for each in others)
    assert [each["verdict"] for each in results["claims"]] == ["holds"] * 3


@pytest.mark.slow
def test_of_too_many_clicks_whole_users_are_taken(run):
    import tensorflow as tf

    from experiments.feature_importance.permutation import read_clicks

    home, columns, _ = run
    files = [str(path) for path in (home / "examples").glob("Split-eval/*.gz")]
    inputs = {"price": tf.float32, names.RECENT_ITEMS: tf.string}
    clicks = read_clicks(files, inputs, names.LABEL_OF_OUTPUT, 500)
    sizes = dict(zip(*np.unique(columns["user_id"], return_counts=True), strict=True))
    assert 500 <= len(clicks) < 500 + max(sizes.values())
    assert clicks.columns[names.RECENT_ITEMS].shape == (len(clicks), names.SEQUENCE_LENGTH)
    price = set(clicks.columns["price"].numpy().tolist())
    mine = np.isin(np.asarray(columns["price"], np.float32), list(price))
    assert mine.sum() == sum(sizes[user] for user in np.unique(columns["user_id"][mine]))
