"""The TFMA metrics against the NumPy reference: merged in any way, and in TFMA's own pipeline."""

import math
import pickle

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.proto import config_pb2

from models import features as names
from models.metrics import sums
from models.metrics import tfma as metrics

MODULE = "models.metrics.tfma"
OUTPUT = names.P_CABA
CLASSES = (
    "NormalizedEntropy",
    "BaseRate",
    "CalibrationRatio",
    "WeightedAUC",
    "GAUC",
    "GAUCCoverage",
    "NECandidateMinusBaseline",
    "NEChangeLower",
    "NEChangeUpper",
)


def eval_config(*, weighted=False):
    def spec(name, **kwargs):
        keys = {"example_weight_keys": {OUTPUT: names.ALPHA}} if weighted else {}
        return config_pb2.ModelSpec(name=name, label_keys={OUTPUT: names.Y_CABA}, **keys, **kwargs)

    return config_pb2.EvalConfig(
        model_specs=[spec("candidate"), spec("baseline", is_baseline=True)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[names.USER_ACTIVITY]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                output_names=[OUTPUT],
                example_weights=config_pb2.ExampleWeightOptions(weighted=weighted, unweighted=not weighted),
                metrics=[config_pb2.MetricConfig(class_name=name, module=MODULE) for name in CLASSES],
            )
        ],
    )


def rows(n, seed):
    rng = np.random.default_rng(seed)
    candidate = rng.uniform(0.01, 0.9, n)
    return {
        "label": (rng.random(n) < candidate).astype(float),
        "candidate": candidate,
        "baseline": np.clip(candidate + rng.normal(0, 0.2, n), 0.01, 0.99),
        "weight": rng.uniform(0.1, 2, n),
        "user": np.array([f"user-{u}" for u in rng.integers(0, max(n // 3, 1), n)]),
    }


def expected(data, *, weighted):
    w = data["weight"] if weighted else np.ones(len(data["label"]))
    y, p = data["label"], data["candidate"]
    four = sums.binary_sums(y, p, w)
    grouped = sums.gauc(data["user"], y, p, w)
    paired = sums.paired_sums(sums.user_group(data["user"]), y, p, data["baseline"], w)
    interval = sums.ne_change_interval(paired)
    return {
        "normalized_entropy": sums.normalized_entropy(four),
        "base_rate": sums.base_rate(four),
        "calibration": sums.calibration(four),
        "weighted_auc": sums.auc_of_histogram(sums.auc_histogram(y, p, w)),
        "gauc": grouped.gauc,
        "gauc_coverage": grouped.coverage,
        "ne_candidate_minus_baseline": sums.ne_change(paired),
        "ne_change_lower": interval.lower,
        "ne_change_upper": interval.upper,
    }


def elements(data):
    from tensorflow_model_analysis.metrics import metric_types

    for i in range(len(data["label"])):
        yield metric_types.StandardMetricInputs(
            {
                tfma.LABELS_KEY: {OUTPUT: np.array([data["label"][i]])},
                tfma.PREDICTIONS_KEY: {
                    model: {OUTPUT: np.array([data[model][i]])} for model in ("candidate", "baseline")
                },
                tfma.EXAMPLE_WEIGHTS_KEY: {OUTPUT: np.array([data["weight"][i]])},
                tfma.FEATURES_KEY: {names.USER_ID: np.array([data["user"][i].encode()])},
            }
        )


def computed(data, assignment, *, weighted=True):
    """Values of every metric when row i goes to accumulator assignment[i] and all are merged."""
    values = {}
    for name in CLASSES:
        state, derived = getattr(metrics, name)().computations(
            eval_config=eval_config(weighted=weighted),
            model_names=["candidate", "baseline"],
            output_names=[OUTPUT],
            example_weighted=weighted,
        )[:2]
        combiner = state.combiner
        accumulators = [combiner.create_accumulator() for _ in range(max(assignment) + 1)]
        for part, element in zip(assignment, elements(data), strict=True):
            accumulators[part] = combiner.add_input(accumulators[part], element)
        accumulators = pickle.loads(pickle.dumps(accumulators))
        merged = combiner.merge_accumulators(iter(accumulators))
        # A merge with nothing changes nothing.
        merged = combiner.merge_accumulators([combiner.create_accumulator(), merged])
        for key, value in derived.result(combiner.extract_output(merged)).items():
            values[key.name] = value
    return values


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.sampled_from([1, 7, 4096]), st.booleans())
def test_merged_in_any_way_they_equal_the_reference(assignment, buffered, weighted):
    data = rows(len(assignment), seed=len(assignment))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BUFFERED_ROWS", buffered)
        got = computed(data, assignment, weighted=weighted)
    assert got == pytest.approx(expected(data, weighted=weighted), nan_ok=True, rel=1e-5)


def test_a_candidate_of_nan_is_nan_everywhere_but_in_the_base_rate():
    data = rows(50, seed=1)
    data["candidate"][7] = math.nan
    got = computed(data, [0] * 50)
    finite = {name for name, value in got.items() if math.isfinite(value)}
    assert finite == {"base_rate"}


def test_paired_metrics_do_not_exist_without_a_baseline():
    config = config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec(name="candidate")])
    for name in ("NECandidateMinusBaseline", "NEChangeLower", "NEChangeUpper"):
        metric = getattr(metrics, name)()
        assert not metric.computations(eval_config=config, model_names=[""], output_names=[OUTPUT])


@given(st.integers(1, 40), st.integers(0, 3), st.randoms())
def test_a_full_gauc_state_keeps_the_same_users_in_any_order(most, parts, random):
    data = rows(60, seed=most)
    state = lambda keep: metrics.UserRows(  # noqa: E731
        sums.user_hash(data["user"][keep]),
        data["label"][keep],
        data["candidate"][keep],
        data["weight"][keep],
        most=most,
    )
    whole = state(np.arange(60))
    shuffled = random.sample(range(60), 60)
    pieces = [state(np.array(shuffled[i :: parts + 1])) for i in range(parts + 1)]
    merged = pieces[0]
    for piece in pieces[1:]:
        merged = merged + piece
    assert sorted(merged.user) == sorted(whole.user)
    assert len(merged.user) <= most
    assert merged.gauc() == pytest.approx(whole.gauc(), nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "weighted"), [("in_memory", False), ("in_memory", True), ("multi_processing", True)]
)
def test_in_tfmas_own_pipeline(tmp_path, workers, weighted):
    import tensorflow as tf
    from tfx_bsl.tfxio import tf_example_record

    data = rows(400, seed=3)
    activity = np.array(names.USER_ACTIVITY_LEVELS)[np.arange(400) % 4]
    examples = [_example(data, activity, i) for i in range(400)]
    for model in ("candidate", "baseline"):
        tf.saved_model.save(_Lookup(model), str(tmp_path / model), signatures=_Lookup(model).signature())
    config = eval_config(weighted=weighted)
    # The upper bound of the change may not exceed a value below its own: the gate must close.
    limit = config_pb2.GenericValueThreshold(upper_bound={"value": -1.0})
    config.metrics_specs[0].metrics[-1].per_slice_thresholds.append(
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[config_pb2.SlicingSpec()],
            threshold=config_pb2.MetricThreshold(value_threshold=limit),
        )
    )
    shared = [
        tfma.default_eval_shared_model(str(tmp_path / model), model_name=model, eval_config=config)
        for model in ("candidate", "baseline")
    ]
    flags = ["--runner=FnApiRunner", f"--direct_running_mode={workers}", "--direct_num_workers=2"]
    output = str(tmp_path / "output")
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(examples, reshuffle=True)
            | tf_example_record.TFExampleBeamRecord(
                physical_format="inmem", raw_record_column_name=tfma.ARROW_INPUT_COLUMN
            ).BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config,
                eval_shared_model={model.model_name: model for model in shared},
                output_path=output,
            )
        )
    got = {}
    for per_slice in tfma.load_metrics(output):
        where = per_slice.slice_key.single_slice_keys
        value = where[0].bytes_value.decode() if where else ""
        for item in per_slice.metric_keys_and_values:
            if item.key.model_name == "candidate" and not item.key.is_diff:
                got.setdefault(value, {})[item.key.name] = item.value.double_value.value
    assert got[""] == pytest.approx(expected(data, weighted=weighted), rel=1e-4, abs=1e-5)
    level = names.USER_ACTIVITY_LEVELS[1]
    part = {name: column[activity == level] for name, column in data.items()}
    assert got[level] == pytest.approx(expected(part, weighted=weighted), rel=1e-4, abs=1e-5)
    verdict = tfma.load_validation_result(output)
    failures = [f for s in verdict.metric_validations_per_slice for f in s.failures]
    assert not verdict.validation_ok
    assert [f.metric_key.name for f in failures] == ["ne_change_upper"]


def _example(data, activity, i):
    import tensorflow as tf

    example = tf.train.Example()
    for name in ("candidate", "baseline"):
        example.features.feature[name].float_list.value.append(data[name][i])
    example.features.feature[names.Y_CABA].float_list.value.append(data["label"][i])
    example.features.feature[names.ALPHA].float_list.value.append(data["weight"][i])
    example.features.feature[names.USER_ID].bytes_list.value.append(data["user"][i].encode())
    example.features.feature[names.USER_ACTIVITY].bytes_list.value.append(activity[i].encode())
    return example.SerializeToString()


def _Lookup(column):
    """A model that answers with a column of its input, under all three output names."""
    import tensorflow as tf

    class Lookup(tf.Module):
        def signature(self):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
            def serve(examples):
                spec = {column: tf.io.FixedLenFeature([1], tf.float32)}
                value = tf.io.parse_example(examples, spec)[column]
                return {output: tf.identity(value) for output in names.LABEL_OF_OUTPUT}

            return {"serving_default": serve.get_concrete_function()}

    return Lookup()
