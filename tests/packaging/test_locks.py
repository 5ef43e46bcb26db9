"""The lock files: names, versions and hashes, and nothing that ties them to one place."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "scripts/tools.lock"]
ENTRY = re.compile(
    r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+( ; [^\n\\]+)?"
    r"( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)


def leftover(text: str) -> str:
    """What remains of a lock when every well-formed entry is taken out."""
    return ENTRY.sub("", text)


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_hashed_entries_only(name):
    text = (ROOT / name).read_text()
    assert leftover(text) == ""
    assert "://" not in text and "@" not in text


GOOD = "six==1.17.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "six==1.17.0\n",
        "six==1.17.0 \\\n    --hash=sha256:" + "0" * 63 + "\n",
        "--index-url https://packages.example/simple\n",
        "six @ https://packages.example/six.whl\n",
        "# from packages.example\n",
    ],
)
def test_a_lock_with_anything_else_is_refused(line):
    assert leftover(GOOD) == ""
    assert leftover(GOOD + line + GOOD) == line


def test_every_requirement_of_the_project_is_locked_within_its_range(tmp_path):
    from packaging.requirements import Requirement

    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    lines = (tmp_path / "cabb.egg-info" / "requires.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("[")]
    pinned = locked("requirements.lock")
    outside = [
        str(each)
        for each in requirements
        if pinned.get(each.name.lower()) is None
        or not each.specifier.contains(pinned[each.name.lower()], prereleases=True)
    ]
    assert len(requirements) > 20
    assert outside == []


def test_the_pins_that_the_rest_is_built_on():
    pinned = locked("requirements.lock")
    assert pinned["tfx"].startswith("1.21.")
    assert pinned["tensorflow-recommenders"].startswith("0.7.")
    assert int(pinned["protobuf"].split(".")[0]) < 7
