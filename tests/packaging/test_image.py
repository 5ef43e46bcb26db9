"""The Dockerfile agrees with what it is built from: paths, lock, packages, Python, order of layers."""

import re
from importlib.util import find_spec
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "kubeflow"


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continuation lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(head, rest) for head, _, rest in (line.partition(" ") for line in joined.splitlines())]


DOCKERFILE = instructions((HOME / "Dockerfile").read_text())


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for each in DOCKERFILE:
        if each[0] == "FROM":
            found.append([])
        found[-1].append(each)
    return found


def copied() -> list[str]:
    """Sources that are copied from the checkout."""
    return [
        source
        for head, rest in DOCKERFILE
        if head == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]


def top_level() -> set[str]:
    (names,) = re.findall(r"TOP_LEVEL = (\[.*?\])", (ROOT / "setup.py").read_text(), re.DOTALL)
    return set(yaml.safe_load(names))


def test_everything_that_is_copied_exists_and_reaches_the_build() -> None:
    let_through = (HOME / "Dockerfile.dockerignore").read_text().splitlines()
    assert let_through[0] == "*"
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in let_through, source


def test_every_package_is_in_the_image_and_no_test_is() -> None:
    assert top_level() <= set(copied())
    assert "tests" not in copied()


def test_the_lock_comes_first_and_the_project_last() -> None:
    packages, project, final = stages()
    assert ("COPY", "requirements.lock /build/requirements.lock") in packages
    assert not top_level() & {word for head, rest in packages if head == "COPY" for word in rest.split()}
    assert project[0] == ("FROM", "packages AS project")
    copies = [rest for head, rest in final if head == "COPY"]
    assert copies[0].startswith("--from=packages /opt/cabb")
    assert copies[-1].startswith("--from=project")


def test_installations_check_hashes_or_take_nothing_from_the_network() -> None:
    runs = [rest for head, rest in DOCKERFILE if head == "RUN"]
    installs = [part for run in runs for part in run.split("&&") if re.search(r"pip (install|sync)", part)]
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-deps --offline" in each for each in installs)


def test_packages_that_are_taken_out_are_locked_and_not_needed_at_run_time() -> None:
    (run,) = [rest for head, rest in DOCKERFILE if "pip uninstall" in rest]
    names = run.split("/opt/cabb/bin/python ")[-1].split()
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    (runtime,) = re.findall(r"RUNTIME = \[(.*?)\]\n", (ROOT / "setup.py").read_text(), re.DOTALL)
    assert names and set(names) <= locked
    assert not [each for each in names if f'"{each}' in runtime]
    setup = (ROOT / "setup.py").read_text()
    (dev, experiments) = (
        re.findall(rf"^{name} = \[(.*?)^\]", setup, re.M | re.S)[0] for name in ("DEV", "EXPERIMENTS")
    )
    extra = set(re.findall(r'^ +"([a-z0-9-]+)', dev + experiments, re.M)) - {"setuptools", "wheel"}
    assert set(names) == extra, "what tests and experiments alone need stays out of the image"


def test_python_and_debian_are_those_of_the_project() -> None:
    (series,) = re.findall(r"PYTHON_SERIES=(\S+)", (ROOT / "scripts/bootstrap.sh").read_text())
    bases = [rest.split()[0] for head, rest in DOCKERFILE if head == "FROM"]
    assert bases == [f"python:{series}-slim-trixie", "packages", f"python:{series}-slim-trixie"]


def test_it_runs_tasks_as_nobody_special() -> None:
    final = dict(stages()[-1])
    assert final["USER"] == "1000"
    assert "TF_USE_LEGACY_KERAS=1" in final["ENV"]
    command = yaml.safe_load(final["ENTRYPOINT"])
    assert command[:2] == ["python", "-m"] and find_spec(command[2])


def test_the_makefile_builds_it() -> None:
    assert "build --file kubeflow/Dockerfile" in (ROOT / "Makefile").read_text()


def test_manifests_agree_on_the_volume() -> None:
    job = yaml.safe_load((HOME / "schedule.yaml").read_text())
    volume = yaml.safe_load((HOME / "volume.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
    assert job["metadata"]["namespace"] == volume["metadata"]["namespace"]
    assert "cabb kubeflow submit" in pod["containers"][0]["args"][0]
