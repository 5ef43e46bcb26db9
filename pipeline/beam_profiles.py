"""Where Beam runs: in this process, on local workers, or on an engine of a cluster.

docs/kubeflow.md says what each engine has to be given beside these flags (job server, SDK image, storage).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.settings import Settings

_NOT_PACKED = ("--sdk_container_image=none",)
"""Workers on this machine, or from a pool in this project's image, have all they need. With an image named,
TFX does not pack itself for them, which costs every node seconds and leaves 42 MB in the temporary folder."""

PROFILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "local": (("--runner=FnApiRunner", *_NOT_PACKED), ()),
    # The portable runner inside this process: proves that nothing but serialized work crosses to the workers.
    "portable": (
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK", *_NOT_PACKED),
        (),
    ),
    # Workers are sidecars of the task managers, made from this project's image.
    "flink": (
        ("--runner=FlinkRunner", "--environment_type=EXTERNAL", *_NOT_PACKED),
        ("flink_master", "environment_config"),
    ),
    "spark": (
        ("--runner=PortableRunner", "--environment_type=EXTERNAL", *_NOT_PACKED),
        ("job_endpoint", "environment_config"),
    ),
    "dataflow": (
        ("--runner=DataflowRunner", "--experiments=use_runner_v2"),
        ("project", "region", "temp_location", "sdk_container_image"),
    ),
    "dask": (("--runner=apache_beam.runners.dask.dask_runner.DaskRunner",), ("dask_client_address",)),
}
"""Profile -> (flags it always has, options it cannot do without)."""


class BeamSettings(Settings):
    """How Beam runs."""

    partitions: Annotated[int, Field(ge=1, le=4096)] = 16
    """User partitions, about 16 per 10 million events: the unit of parallel work."""
    profile: Literal["local", "portable", "flink", "spark", "dataflow", "dask"] = "local"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Of the profile `local`."""
    running_mode: Literal["in_memory", "multi_processing"] = "in_memory"
    """Of the profile `local`."""
    options: dict[str, str] = {}
    """More of Beam's options, by name without dashes."""

    @model_validator(mode="after")
    def _is_complete(self) -> BeamSettings:
        missing = [each for each in PROFILES[self.profile][1] if each not in self.options]
        if missing:
            raise ValueError(
                f"the profile {self.profile} needs beam.options.{', beam.options.'.join(missing)}"
            )
        return self

    def arguments(self) -> list[str]:
        """Beam's command line for every node that runs on Beam."""
        flags = list(PROFILES[self.profile][0])
        if self.profile == "local":
            flags.append(f"--direct_running_mode={self.running_mode}")
            flags.append(f"--direct_num_workers={self.workers}")
        return flags + [f"--{name}={value}" for name, value in self.options.items()]
