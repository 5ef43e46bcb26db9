"""What a finished run left on this machine, found by what its results.json says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from components.run_report.results import load_results
from models.settings import ModelSettings
from schemas.errors import InputError
from schemas.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class RunArtifacts:
    """Folders of a run.

    Attributes:
        results: content of results.json.
        place: folder of every part, and other facts of the run, by the name that its report gives them.
        model: SavedModel, as pushed, or as trained when nothing was pushed.
        pushed: whether it is the pushed one.
        eval_files: shards of the evaluation click examples, sorted.
    """

    results: dict[str, Any]
    place: dict[str, str]
    model: Path
    pushed: bool
    eval_files: list[str]

    def folder(self, part: str) -> Path:
        """Folder of an artifact by its name in the lineage, as in "Sessions".

        Raises:
            InputError: the run does not name one, or it is gone.
        """
        place = next((each["value"] for each in self.results["lineage"] if each["name"] == part), None)
        if place is None or not Path(place).is_dir():
            raise InputError(f"the run's {part.lower()} are not at {place} any more; run `cabb run` again")
        return Path(place)

    @property
    def settings(self) -> ModelSettings:
        """Those of the model."""
        return self.configured("model", ModelSettings)

    def configured(self, key: str, kind: type[AnySettings]) -> AnySettings:
        """A branch of the run's configuration.

        Raises:
            InputError: this version of the code has other settings.
        """
        try:
            return kind.model_validate(self.results["configuration"][key])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (key, *first["loc"])))
            raise InputError(
                f"run {self.results['run']['name']} was made by another version of cabb ({where}: "
                f"{first['msg']}); run it again"
            ) from None


def find_run(run: Path) -> RunArtifacts:
    """The artifacts of a run.

    Args:
        run: folder of a run (`runs/cabb/runs/latest`), or its results.json.

    Raises:
        InputError: no results there, or folders that they name are gone.
    """
    results = load_results(run)
    place = {each["name"]: each["value"] for each in results["lineage"]}
    pushed = results["verdict"]["path"]
    model = Path(pushed) if pushed else Path(place.get("Model", "no-model"), "Format-Serving")
    files = sorted(map(str, Path(place.get("Examples", "no-examples")).glob("Split-eval/*.gz")))
    if not (model / "saved_model.pb").is_file():
        raise InputError(f"{run}: the run's model is not at {model} any more; run `cabb run` again")
    if not files:
        raise InputError(f"{run}: the run's evaluation examples are gone; run `cabb run` again")
    return RunArtifacts(results, place, model, bool(pushed), files)
