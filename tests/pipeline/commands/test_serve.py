"""`cabb serve` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.serve import default_serving_dir, serve
from schemas.errors import InputError
from serving.client import Client
from tests.serving import tiny_model
from tests.serving.conftest import wait_for

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_serves_what_was_pushed_and_picks_up_the_next_version(tmp_path):
    base = tmp_path / "merchandise"
    base.mkdir()
    tiny_model.save(base / "1")
    command = [sys.executable, "-m", "pipeline", "serve", str(base), "--port", "0", "--rest-port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    try:
        assert process.stdout.readline().strip() == "merchandise: version 1"
        address = re.search(r"gRPC (\S+), REST http://127\.0\.0\.1:\d+", process.stdout.readline())[1]
        with Client(address, "merchandise", deadline_s=10) as client:
            first = client.score(tiny_model.columns(3))["p_caba"]
            tiny_model.save(base / "2", bias=-3.0)
            wait_for(lambda: (client.score(tiny_model.columns(3))["p_caba"] < first).all(), "version 2")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_what_it_cannot_serve_is_named(tmp_path):
    def error(*arguments):
        return str(CliRunner().invoke(serve, list(map(str, arguments))).exception)

    assert "no such folder" in error(tmp_path / "nowhere")
    assert "leave out SERVING_DIR" in error(tmp_path, "--config", tmp_path / "models.config")
    (tmp_path / "models.config").write_text("model_config_lost {}")
    assert "not a models.config" in error("--config", tmp_path / "models.config")
    for name in ("", " "):
        assert "--name is empty" in error(tmp_path / "nowhere", "--name", name)


def test_a_config_is_refused_before_tensorflow_is_loaded():
    asked = "import sys; from pipeline.commands.serve import serve\ntry: serve(['--config', 'missing'])\n"
    told = "except ValueError as error: print(error, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked + told], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("missing: not a models.config") and done.stdout.endswith("False\n"), done


def test_the_one_pushed_model_is_the_default(tmp_path):
    with pytest.raises(InputError, match=r"found: none"):
        default_serving_dir(tmp_path)
    (tmp_path / "serving" / "a").mkdir(parents=True)
    assert default_serving_dir(tmp_path).name == "a"
    (tmp_path / "serving" / "b").mkdir()
    with pytest.raises(InputError, match=r"found: .*a, .*b"):
        default_serving_dir(tmp_path)
