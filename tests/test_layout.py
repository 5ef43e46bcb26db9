"""The direction of imports: data flows down and never back, and pure logic stays free of TFX and Beam."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "components", "models", "schemas", "serving", "simulator")
RUNS_ON_BEAM = {"component.py", "executor.py"}


def imported_by(source: str) -> Iterator[str]:
    """Top-level names of every import, including those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def breaches(path: str, source: str) -> list[str]:
    """Imports of one file that go against the direction; `path` is relative to the root."""
    parts = Path(path).parts
    found = []
    for name in imported_by(source):
        top = name.split(".")[0]
        if top == "pipeline" and parts[0] != "pipeline":
            found.append(f"{path}: nothing imports pipeline/, but this imports {name}")
        if top == "tfx" and not _may_import_tfx(parts):
            found.append(
                f"{path}: imports {name}; only pipeline/, component files and the trainer's entry may"
            )
        if top == "apache_beam" and not _may_import_beam(parts):
            found.append(f"{path}: imports {name}; pure logic knows no Beam")
        if parts[0] in ("schemas", "simulator") and top in PACKAGES and not _is_known_to(path, name):
            found.append(f"{path}: {parts[0]}/ knows schemas/ only, but this imports {name}")
        if parts[0] == "serving" and top in PACKAGES and top not in ("serving", "schemas"):
            found.append(f"{path}: serving/ knows schemas/ only, but this imports {name}")
        if parts[0] == "models" and top in ("components", "simulator"):
            found.append(f"{path}: models/ knows no components, but this imports {name}")
    return found


def _is_known_to(path: str, name: str) -> bool:
    # The curated schema names the columns of click examples, which models/features.py owns.
    if path == "schemas/curated.py" and name in ("models", "models.features"):
        return True
    return name.split(".")[0] in ("schemas", Path(path).parts[0])


def _may_import_tfx(parts: tuple[str, ...]) -> bool:
    if parts[0] == "components":
        return parts[-1] in RUNS_ON_BEAM or parts[1:] == ("artifacts.py",)
    return parts[0] == "pipeline" or parts == ("models", "trainer.py")


def _may_import_beam(parts: tuple[str, ...]) -> bool:
    if parts[0] == "components":
        return parts[-1] in RUNS_ON_BEAM | {"columnar.py"} or parts[-1].endswith("beam.py")
    return parts == ("models", "metrics", "tfma.py")


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_imports_keep_their_direction() -> None:
    found = [
        each for path in sources() for each in breaches(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/cabb.py", "import tfx"),
        ("models/cabb.py", "def f():\n    from tfx import v1"),
        ("components/similarity_transform/labels.py", "import apache_beam as beam"),
        ("components/run_report/page.py", "from pipeline.config import Config"),
        ("schemas/events.py", "from components.columnar import shuffle"),
        ("models/losses.py", "from components import Sessions"),
        ("serving/client.py", "from models import features"),
    ],
)
def test_a_breach_is_seen(path: str, source: str) -> None:
    assert breaches(path, source)


def test_help_loads_neither_tensorflow_nor_tfx() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import cabb\n"
        "for args in (['--help'], ['run', '--help'], ['simulate', '--help'], ['similar', '--help'],"
        " ['report', '--help'], ['attribution', '--help'], ['serve', '--help'], ['score', '--help'],"
        " ['ingest', '--help'], ['monitor', '--help'], ['bulk-score', '--help']):\n"
        "    result = CliRunner().invoke(cabb, args); assert result.exit_code == 0, result.output\n"
        "    assert args == ['--help'] or 'Example' in result.output, args\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'tensorflow_model_analysis'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
