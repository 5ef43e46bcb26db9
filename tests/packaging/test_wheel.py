"""The built wheel holds what the source tree holds: an editable installation would hide what it lacks."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTALLED = {"tests", "benchmarks", "scripts", "docs", "build", "dist"}
TOP_LEVEL = sorted(
    each.name
    for each in ROOT.iterdir()
    if each.is_dir()
    and not each.name.startswith(".")
    and each.name not in NOT_INSTALLED
    and next(each.rglob("*.py"), None)
)


def tree_files(root: Path, top_level: list[str]) -> set[str]:
    """Every file of the packages, as a path within the wheel."""
    return {
        each.relative_to(root).as_posix()
        for name in top_level
        for each in (root / name).rglob("*")
        if each.is_file()
        and "__pycache__" not in each.parts
        and each.suffix not in {".pyc", ".md"}
        and not any(part.startswith(".") for part in each.relative_to(root).parts)
    }


def build(source: Path, target: Path) -> zipfile.ZipFile:
    copy = target / "source"
    shutil.copytree(
        source,
        copy,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "docs", "build", "dist"),
    )
    subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", target / "dist"],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (wheel,) = (target / "dist").glob("cabb-*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with build(ROOT, tmp_path_factory.mktemp("wheel")) as archive:
        yield archive


def missing(archive: zipfile.ZipFile, root: Path, top_level: list[str]) -> set[str]:
    return tree_files(root, top_level) - set(archive.namelist())


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_tree(wheel):
    assert {"components", "models", "pipeline", "schemas", "simulator"} <= set(TOP_LEVEL)
    assert missing(wheel, ROOT, TOP_LEVEL) == set()
    assert "schemas/schema.pbtxt" in wheel.namelist()


@pytest.mark.slow
def test_the_wheel_holds_nothing_but_the_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.startswith("cabb-")} == set(TOP_LEVEL)


@pytest.mark.slow
def test_the_packages_import_from_the_wheel(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "import importlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    assert importlib.import_module(name).__file__.startswith(sys.argv[1]), name\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path, *TOP_LEVEL, "pipeline.cli"],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_wheel_names_the_command_and_the_python_it_needs(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    requires_python = next(line for line in text.splitlines() if line.startswith("Requires-Python:"))
    assert set(requires_python.split(": ")[1].split(",")) == {">=3.11", "<3.12"}
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode())
    assert dict(parser["console_scripts"]) == {"cabb": "pipeline.cli:main"}


@pytest.mark.slow
def test_a_folder_without_init_and_an_unknown_kind_of_data_are_noticed(tmp_path):
    """Shows that the comparison above can fail."""
    source = tmp_path / "tree"
    (source / "schemas" / "lost").mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", source)
    for name in (
        "schemas/__init__.py",
        "schemas/schema.pbtxt",
        "schemas/table.unknown",
        "schemas/lost/module.py",
    ):
        (source / name).touch()
    with build(source, tmp_path) as archive:
        assert missing(archive, source, ["schemas"]) == {"schemas/table.unknown", "schemas/lost/module.py"}
