"""A deferred package is imported at once and loaded when something is asked of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import deferred_packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a package that notes when it is loaded, with a submodule that does not need it."""
    home = tmp_path / "slow_package"
    home.mkdir()
    (home / "__init__.py").write_text(
        "import pathlib\n"
        "with open(pathlib.Path(__file__).with_name('loads'), 'a') as file:\n    file.write('x')\n"
        "from slow_package.part import two\nthree = two + 1\n"
        "def __getattr__(name):\n"
        "    if name == 'made_up':\n        return 'by the package itself'\n"
        "    raise AttributeError(name)\n"
    )
    (home / "part.py").write_text("two = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    deferred_packages.defer("slow_package", "no_such_package")
    yield home
    for name in ("slow_package", "slow_package.part"):
        sys.modules.pop(name, None)


def loads(package: Path) -> int:
    file = package / "loads"
    return len(file.read_text()) if file.exists() else 0


def test_a_submodule_does_not_load_its_package(package: Path) -> None:
    import slow_package
    from slow_package.part import two

    assert two == 2 and slow_package.part.two == 2
    assert loads(package) == 0


def test_the_first_question_loads_it_once(package: Path) -> None:
    import slow_package
    from slow_package import three

    assert three == slow_package.three == 3
    assert slow_package.made_up == "by the package itself"
    assert not hasattr(slow_package, "four")
    assert loads(package) == 1


def test_it_travels_by_name(package: Path) -> None:
    import slow_package
    from apache_beam.internal import pickler

    assert pickler.loads(pickler.dumps(lambda: slow_package))() is slow_package
    assert loads(package) == 0
    assert slow_package.three == 3
    assert pickler.loads(pickler.dumps(lambda: slow_package))() is slow_package


def test_a_package_that_fails_to_load_says_so_every_time(package: Path) -> None:
    with (package / "__init__.py").open("a") as file:
        file.write("import no_such_package\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            from slow_package import five  # noqa: F401


def test_a_missing_package_is_missing_at_its_import(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        import no_such_package  # noqa: F401


@pytest.mark.slow
def test_the_data_stage_of_a_task_loads_neither_tensorflow_nor_tfma() -> None:
    code = (
        "import sys\n"
        "from pipeline.kubeflow.execute import load_lightly\n"
        "load_lightly()\n"
        "from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils\n"
        "import components.similarity_transform.executor, components.session_example_gen.executor\n"
        "import tensorflow, tensorflow_model_analysis\n"
        "print('tensorflow.python' in sys.modules, 'tensorflow_model_analysis.api' in sys.modules)\n"
        "assert tensorflow.constant(1).numpy() == 1\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["False", "False"], ended.stderr[-2000:]
    assert ended.returncode == 0, ended.stderr[-2000:]
