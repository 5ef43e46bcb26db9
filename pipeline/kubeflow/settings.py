"""What a cluster gives each task: image, storage, memory, retries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.settings import Settings

CPU = r"[0-9]+(\.[0-9]+)?m?"
MEMORY = r"[0-9]+(\.[0-9]+)?(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?"
"""Kubernetes quantities, as the KFP SDK accepts them."""


class Resources(Settings):
    """Limits of one task, as Kubernetes quantities; requests are the same."""

    cpu: Annotated[str, Field(pattern=f"^{CPU}$")] = "1"
    memory: Annotated[str, Field(pattern=f"^{MEMORY}$")] = "4G"


class KubeflowSettings(Settings):
    """The branch `kubeflow` of a configuration. It decides where a run happens, never what it produces."""

    pipeline_root: str = ""
    """Where artifacts are kept: s3://, gs:// or minio://, a bucket and a folder."""
    serving_dir: str = "/mnt/cabb/serving"
    """Where versions are published: a path inside a mounted volume."""
    volumes: dict[str, str] = {}
    """Persistent volume claims and the paths they are mounted at, in every task."""
    resources: dict[str, Resources] = {}
    """By task name; `default` is for the tasks that are not named."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Of a task that died. Gates are not asked twice."""

    def resources_of(self, task: str) -> Resources:
        """Limits of one task: the configured ones, else measured defaults."""
        default = self.resources.get("default", Resources())
        return self.resources.get(task, DEFAULTS.get(task, default))


_DATA = Resources(cpu="2", memory="8G")
DEFAULTS = {
    "SessionExampleGen": _DATA,
    "AttributionModel": _DATA,
    "SimilarityTransform": _DATA,
    "FeatureStateGen": _DATA,
    "Transform": _DATA,
    "Trainer": Resources(cpu="4", memory="8G"),
    "Evaluator": _DATA,
    "ServingValidator": Resources(cpu="2"),
}
"""Tasks that read every event or example; the others hold summaries."""


def cores(quantity: str) -> float:
    """A CPU quantity in cores: "500m" is 0.5."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def gigabytes(quantity: str) -> float:
    """A memory quantity in 10^9 bytes: "4Gi" is 4.294967296."""
    number = quantity.rstrip("EPTGMKi")
    unit = quantity[len(number) :]
    power = " KMGTPE".index(unit[0]) if unit else 0
    return float(number) * (1024 if unit.endswith("i") else 1000) ** power / 1e9
