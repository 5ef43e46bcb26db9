"""The data stage of N events on every Beam engine that Python packages bring: equal results, what it costs.

    python -m benchmarks.beam_engines --events 200_000

Sessions, similarity and click examples are made once per engine, each in a process of its own that measures
CPU time (workers included), and compared with those of the runner in this process: every table has to be the
same, and every byte of the other files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from benchmarks.data_stage import generate, run_beam
from pipeline.beam_profiles import BeamSettings

WORKERS, PARTITIONS, LEAVES = 2, 4, 300
REFERENCE = "in_process"


@contextmanager
def in_process() -> Iterator[BeamSettings]:
    """Beam's own runner in this process."""
    yield BeamSettings()


@contextmanager
def multi_processing() -> Iterator[BeamSettings]:
    """Beam's own runner with worker processes."""
    yield BeamSettings(running_mode="multi_processing", workers=WORKERS)


@contextmanager
def portable() -> Iterator[BeamSettings]:
    """The portable runner with workers by LOOPBACK."""
    yield BeamSettings(profile="portable")


@contextmanager
def worker_pool() -> Iterator[BeamSettings]:
    """The profile `spark`, workers from a pool and all; Beam's embedded job service stands in for Spark."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    # A worker is whatever `python` the pool finds. One without Beam dies, and the job waits for it for ever.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(command, env={**os.environ, "PATH": path}) as pool:
        try:
            _wait_for(port)
            options = {"job_endpoint": "embed", "environment_config": f"localhost:{port}"}
            yield BeamSettings(profile="spark", options=options)
        finally:
            pool.send_signal(signal.SIGINT)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("localhost", port)).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextmanager
def dask() -> Iterator[BeamSettings]:
    """A Dask cluster of worker processes."""
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        options = {"dask_client_address": cluster.scheduler_address, "dask_npartitions": str(PARTITIONS)}
        yield BeamSettings(profile="dask", options=options)


ENGINES = {each.__name__: each for each in (in_process, multi_processing, portable, worker_pool, dask)}


def run(engine: str, home: Path) -> dict[str, float]:
    """Runs the stage here; returns wall and CPU seconds, imports included."""
    began = time.monotonic()
    with ENGINES[engine]() as settings:
        run_beam(home / "log", home / engine, PARTITIONS, settings.arguments())
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "wall_s": time.monotonic() - began,
        "cpu_s": sum(each.ru_utime + each.ru_stime for each in used),
    }


def differences(ours: Path, theirs: Path) -> list[str]:
    """Files that are not the same in both folders."""
    names = {str(each.relative_to(ours)) for each in ours.rglob("*") if each.is_file()}
    others = {str(each.relative_to(theirs)) for each in theirs.rglob("*") if each.is_file()}
    return sorted(names ^ others) + [
        name for name in sorted(names & others) if not _same(ours / name, theirs / name)
    ]


def _same(ours: Path, theirs: Path) -> bool:
    if ours.suffix == ".parquet":
        return pl.read_parquet(ours).equals(pl.read_parquet(theirs))
    return ours.read_bytes() == theirs.read_bytes()


def main() -> None:
    """Generates a log, runs every engine and prints what differs and what it cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=lambda text: int(text.replace("_", "")), default=200_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", nargs=2, metavar=("ENGINE", "HOME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        engine, home = options.only
        print(json.dumps(run(engine, Path(home))))
        return
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        generate(options.events, LEAVES, home / "log")
        measured: dict[str, dict[str, float]] = {}
        for engine in dict.fromkeys((REFERENCE, *options.engines)):
            command = [sys.executable, "-m", "benchmarks.beam_engines", "--only", engine, str(home)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                failed = True
                print(f"{engine:>16}: failed: {ended.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            measured[engine] = json.loads(ended.stdout.splitlines()[-1])
            differing = differences(home / REFERENCE, home / engine)
            failed |= bool(differing)
            used, base = measured[engine], measured[REFERENCE]
            print(
                f"{engine:>16}: {used['wall_s']:6.1f} s {used['cpu_s']:6.1f} CPU-s "
                f"({used['cpu_s'] / base['cpu_s']:.2f} x {REFERENCE}), "
                f"{'equal' if not differing else f'{len(differing)} files differ: {differing[0]}'}",
                flush=True,
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()
