"""A child process passes on what its work yields, and does not outlive its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.child_process import ChildProcess

PARENT = """
from experiments.child_process import ChildProcess
from tests.experiments.test_child_process import endless

if __name__ == "__main__":
    print(ChildProcess(endless).hear(), flush=True)
    input()
"""


def endless():
    while True:
        yield os.getpid()
        time.sleep(60)


def two_and_an_error():
    yield 1
    yield 2
    raise ValueError("no third")


def test_what_is_yielded_and_raised_is_heard():
    child = ChildProcess(two_and_an_error)
    assert (child.hear(), child.hear()) == (1, 2)
    with pytest.raises(ValueError, match="no third"):
        child.hear()
    child.kill()


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment, text=True
    )
    assert parent.stdout.readline().strip().isdigit()
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=20)  # the child writes to the same pipe: it closes when both have ended
