"""Serves the candidate once, and says whether it may serve for good."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_validator.check import check_serving, refused, write_report
from components.serving_validator.settings import ServingCheckSettings
from components.serving_validator.warmup import read_examples, write_warmup
from schemas.errors import InputError
from serving.requests import features_of_export

SPLIT = "eval"
SERVER_LOG = "server.log"


class Executor(base_executor.BaseExecutor):
    """Blesses a candidate that serves what it predicts, within the limits."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes serving.json and the warmed-up model, and marks `blessing`.

        Raises:
            InputError: there are no eval examples.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = ServingCheckSettings.model_validate_json(exec_properties["settings"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        examples = read_examples(artifact_utils.get_split_uri(input_dict["examples"], SPLIT), settings.rows)
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder, "candidate")
            export = base / "1"
            io_utils.copy_dir(path_utils.serving_model_path(model.uri), str(export))
            log = Path(folder, SERVER_LOG)
            try:
                features = features_of_export(export)
                write_warmup(export, examples, features, settings.warmup_sizes, base.name)
            except InputError as error:
                # Without its folder, which is of this execution alone.
                result = refused(len(examples), str(error).replace(f"{export}/", ""))
            else:
                result = check_serving(base, examples, features, settings, log)
            Path(blessing.uri).mkdir(parents=True, exist_ok=True)
            if not result["blessed"] and log.is_file():
                shutil.copy(log, Path(blessing.uri, SERVER_LOG))
            if result["blessed"]:
                io_utils.copy_dir(str(export), path_utils.stamped_model_path(blessing.uri))
        write_report(Path(blessing.uri), result)
        blessing.set_int_custom_property("has_model", int(result["blessed"]))
        blessing.set_int_custom_property("blessed", int(result["blessed"]))
        if result["reasons"]:
            blessing.set_string_custom_property("reasons", json.dumps(result["reasons"]))
        logging.info("Serving check: %s", "; ".join(result["reasons"]) or "blessed")
