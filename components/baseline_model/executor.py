"""Copies the version in production, or makes the constant-prior model."""

import json
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.baseline_model.choice import IN_PRODUCTION, BaselineSettings, comparable
from components.baseline_model.prior import base_rates, save_prior
from schemas.lineage import baseline


class Executor(base_executor.BaseExecutor):
    """Writes the baseline as a standard Model."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills `model`; custom properties `in_production`, `kind`, `version`, `train_start`, `train_end`.

        Raises:
            InputError: production cannot be compared with, or there is nothing to take base rates from.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = BaselineSettings.model_validate_json(exec_properties["settings"])
        found = baseline(exec_properties["serving_dir"], exec_properties["run_key"])
        version = comparable(found, exec_properties["eval_start"], settings)
        model = artifact_utils.get_single_instance(output_dict["model"])
        model.set_int_custom_property(IN_PRODUCTION, found.number if found else 0)
        folder = path_utils.serving_model_dir(model.uri)
        if version is None:
            split = artifact_utils.get_split_uri(input_dict["examples"], "train")
            files = sorted(fileio.glob(io_utils.all_files_pattern(split)))
            rates = base_rates(files, json.loads(exec_properties["label_of_output"]))
            save_prior(rates, folder)
            model.set_string_custom_property("kind", "prior")
            logging.info("No version to compare with: the baseline answers %s.", rates)
            return
        io_utils.copy_dir(str(version.path), folder)
        model.set_string_custom_property("kind", "production")
        model.set_int_custom_property("version", version.number)
        model.set_string_custom_property("train_start", version.lineage.train_start or "")
        model.set_string_custom_property("train_end", version.lineage.train_end)
        logging.info("The baseline is version %d.", version.number)
