"""Artifact types that flow between components, beside TFX's standard ones.

None declares PROPERTIES: Kubeflow's pipeline format drops them. Facts about an artifact are custom
properties or files inside it.
"""

from tfx.types import artifact


class Sessions(artifact.Artifact):
    """De-duplicated events as Parquet, one file per user partition and split.

    Split-<name>/part-<p>-of-<P>.parquet hold the same users for the same p in every split. `counts.json`
    accounts for every row that was read; `rejected/` keeps the rows that could not be used, with reasons.
    Custom property `splits`: JSON list of split names.
    """

    TYPE_NAME = "components.Sessions"


class Similarity(artifact.Artifact):
    """Category relatedness S: leaves with their support, and the sparse upper triangle of S, as Parquet."""

    TYPE_NAME = "components.Similarity"


class Attribution(artifact.Artifact):
    """The fitted model behind the `mta` view: `mta.npz`, and `mta.json` with its held-out metrics."""

    TYPE_NAME = "components.Attribution"


class FeatureState(artifact.Artifact):
    """What serving has to know of users, items and days, as of the logs' last event.

    The files are those of `components.feature_state.snapshot`.
    """

    TYPE_NAME = "components.FeatureState"


class AnomalyReport(artifact.Artifact):
    """What the anomaly gate saw in the statistics: `anomalies.json`."""

    TYPE_NAME = "components.AnomalyReport"


class RunPage(artifact.Artifact):
    """The run's report: `report.html` (self-contained) and `results.json`."""

    TYPE_NAME = "components.RunPage"
