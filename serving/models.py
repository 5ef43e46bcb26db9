"""The models of one server: configured by name, polled together, found by a request's ModelSpec."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import ServingError, invalid
from serving.versions import Closable, ModelVersions, VersionPolicy, not_found

Config = model_server_config_pb2.ModelServerConfig


class Models:
    """Models by name. `load` makes a servable of a version's folder.

    A configuration is TensorFlow Serving's own `models.config`; `base_path` is a directory of this machine.
    """

    def __init__(self, load: Callable[[Path], Closable]):
        self._load = load
        self._by_name: dict[str, ModelVersions] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def configure(self, config: Config) -> None:
        """Replaces the models by those of `config`, and loads what it asks for.

        Raises:
            ServingError: INVALID_ARGUMENT for a configuration without a list of models or with a model twice;
                FAILED_PRECONDITION for a new label of a known model on a version that does not serve. (A new
                model may name versions to come, as with --allow_version_labels_for_unavailable_models.)
        """
        if not config.HasField("model_config_list"):
            raise invalid("ModelServerConfig has no model_config_list")
        wanted = {each.name: each for each in config.model_config_list.config}
        if len(wanted) < len(config.model_config_list.config):
            raise invalid("Illegal to list model more than once in ModelServerConfig")
        models: dict[str, ModelVersions] = {}
        for name, each in wanted.items():
            if not name or not each.base_path:
                raise invalid("every model of a ModelServerConfig needs a name and a base_path")
            models[name] = self._model(each)
            models[name].poll()
        for name, each in wanted.items():
            self._label(
                models[name], dict(each.version_labels), known=models[name] is self._by_name.get(name)
            )
        gone = [model for name, model in self._by_name.items() if models.get(name) is not model]
        self._by_name = models
        for model in gone:
            model.close()

    def start(self, poll_s: float) -> None:
        """Polls every `poll_s` seconds in the background."""
        self._thread = threading.Thread(target=self._poll_forever, args=[poll_s], daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops polling and takes everything out of service."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        for model in self._by_name.values():
            model.close()

    def names(self) -> list[str]:
        """Configured models."""
        return sorted(self._by_name)

    def model(self, name: str) -> ModelVersions | None:
        """The versions of a configured model."""
        return self._by_name.get(name)

    @contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, Any]]:
        """Holds the version that a ModelSpec names; see `ModelVersions.use`."""
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        version = spec.version.value if spec.HasField("version") else None
        label = spec.version_label if spec.HasField("version_label") else None
        model = self._by_name.get(spec.name)
        if model is None:
            if label is not None:
                raise invalid(f"Unrecognized servable version label: {label}")
            raise not_found(spec.name, version)
        with model.use(version, label) as held:
            yield held

    def _model(self, config: model_server_config_pb2.ModelConfig) -> ModelVersions:
        """The model as configured: the one that serves already if only its versions or labels change."""
        path, policy = Path(config.base_path), _policy(config)
        model = self._by_name.get(config.name)
        if model is None or model.base_path != path:
            return ModelVersions(config.name, path, self._load, policy)
        model.policy = policy
        return model

    def _label(self, model: ModelVersions, labels: dict[str, int], known: bool) -> None:
        serving = model.available()
        for label, version in labels.items():
            if known and version not in serving and model.labels.get(label) != version:
                raise ServingError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model.name}, which is not "
                    "currently available for inference",
                )
        model.labels = labels

    def _poll_forever(self, poll_s: float) -> None:
        while not self._stop.wait(poll_s):
            for model in list(self._by_name.values()):
                model.poll()


def single(name: str, base_path: Path) -> Config:
    """A configuration of one model that serves its largest version."""
    config = Config()
    config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
    return config


def _policy(config: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy(all=True)
    if kind == "specific":
        return VersionPolicy(specific=frozenset(policy.specific.versions))
    return VersionPolicy(latest=max(policy.latest.num_versions, 1))
