"""The pipeline's components. Names resolve on first use, so that pure logic never pays for importing TFX."""

from importlib import import_module
from typing import Any

_HOME_OF = {
    "Sessions": "components.artifacts",
    "Similarity": "components.artifacts",
    "Attribution": "components.artifacts",
    "FeatureState": "components.artifacts",
    "AnomalyReport": "components.artifacts",
    "RunPage": "components.artifacts",
    "SessionExampleGen": "components.session_example_gen.component",
    "CategorySimilarity": "components.category_similarity.component",
    "AttributionModel": "components.attribution_model.component",
    "SimilarityTransform": "components.similarity_transform.component",
    "FeatureStateGen": "components.feature_state.component",
    "AnomalyGate": "components.anomaly_gate.component",
    "BaselineModel": "components.baseline_model.component",
    "ServingValidator": "components.serving_validator.component",
    "VersionedPusher": "components.versioned_pusher.component",
    "RunReport": "components.run_report.component",
}
__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'components' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
