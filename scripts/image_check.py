"""Builds kubeflow/Dockerfile without a container engine and imports everything a task could need inside it.

    make image-check        as root, with debootstrap; about 15 GB below /var/tmp (or ARGS="--scratch DIR")

Every RUN, COPY and ENV of the Dockerfile is carried out as it stands, in root file systems of this machine's
Debian archive: one per stage. The base image is made of what its name says (Debian, Python of the series);
Debian 13 has a later Python only, so Python comes from Debian 12 there. That is not Docker Hub's build of it.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "kubeflow" / "Dockerfile"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
OLDER_SUITE = "bookworm"
PYTHON_PACKAGES = ("", "-venv", "-dev")
PYTHON_SOURCES = "src:python3-defaults:any src:python3.11:any src:python3-stdlib-extensions:any"
MOUNTED = ("proc", "dev", "sys")
SMOKE = "from pipeline.kubeflow.smoke import main; main()"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile: continuation lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        head, _, rest = line.partition(" ")
        yield head, rest.strip()


def archive() -> str:
    """Address of the Debian archive that this machine installs from."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(each.read_text() for each in files if each.is_file())
    found = re.search(r"(?:URIs:|^deb)\s+(?:\[[^\]]*\]\s+)?(https?://\S*debian/?)\s", text, re.MULTILINE)
    if not found:
        sys.exit("no Debian archive is named in /etc/apt: image-check installs from the machine's own")
    return found[1]


def in_root(home: Path, command: str, environment: Mapping[str, str], user: str = "0") -> None:
    """Runs a shell command inside a root file system."""
    certificates = {"SSL_CERT_FILE": str(CA_BUNDLE), "PIP_CERT": str(CA_BUNDLE), "UV_HTTP_TIMEOUT": "180"}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    whole = {"PATH": path, "HOME": "/tmp", "DEBIAN_FRONTEND": "noninteractive", **certificates, **environment}
    subprocess.run(
        [
            shutil.which("chroot") or "/usr/sbin/chroot",
            f"--userspec={user}:{user}",
            str(home),
            "/bin/sh",
            "-euc",
            command,
        ],
        env=whole,
        check=True,
    )


def base(image: str, home: Path) -> None:
    """Makes the root file system that stands for `python:<series>-slim-<suite>`."""
    named = re.fullmatch(r"python:(?P<series>[0-9.]+)-slim-(?P<suite>[a-z]+)", image)
    if named is None:
        sys.exit(f"{DOCKERFILE}: the base {image} is no python:<series>-slim-<suite>")
    series, suite, source = named["series"], named["suite"], archive()
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(home), source],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for file in ("/etc/resolv.conf", "/etc/hosts", str(CA_BUNDLE)):
        if Path(file).is_file():
            shutil.copyfile(file, home / file.lstrip("/"))
    sources = "".join(f"deb {source} {each} main\n" for each in dict.fromkeys((suite, OLDER_SUITE)))
    (home / "etc/apt/sources.list").write_text(sources)
    pins = "".join(
        f"Package: {packages}\nPin: release n={OLDER_SUITE}\nPin-Priority: {priority}\n\n"
        for packages, priority in ((PYTHON_SOURCES, 990), ("*", 100))
    )
    (home / "etc/apt/preferences").write_text(pins if suite != OLDER_SUITE else "")
    for each in MOUNTED:
        subprocess.run(["mount", "--rbind", f"/{each}", str(home / each)], check=True)
    packages = " ".join(f"python{series}{part}" for part in PYTHON_PACKAGES)
    in_root(home, f"apt-get -qq update && apt-get -qq install --yes --no-install-recommends {packages}", {})
    for name in ("python", "python3"):
        (home / "usr/local/bin" / name).symlink_to(f"/usr/bin/python{series}")


def copy_of(home: Path, target: Path) -> None:
    """The same root file system once more, its mounts made anew."""
    target.mkdir()
    subprocess.run(["cp", "-a", "--one-file-system", f"{home}/.", str(target)], check=True)
    for each in MOUNTED:
        subprocess.run(["mount", "--rbind", f"/{each}", str(target / each)], check=True)


def copy(rest: str, stages: Mapping[str, Path], home: Path) -> None:
    """COPY, with --from: sources keep their names below a folder, and the content of a folder is copied."""
    words = shlex.split(rest)
    origin = stages[words.pop(0).partition("=")[2]] if words[0].startswith("--from=") else ROOT
    *sources, target = words
    for source in sources:
        found, goal = origin / source.lstrip("/"), home / target.lstrip("/")
        if found.is_dir():
            shutil.copytree(found, goal, symlinks=True, dirs_exist_ok=True, ignore=_ignored)
            continue
        goal = goal / found.name if target.endswith("/") else goal
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(found, goal)


def _ignored(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"] if folder.startswith(str(ROOT)) else []


def build(scratch: Path) -> tuple[Path, dict[str, str], str]:
    """Carries the Dockerfile out; returns the last stage's root file system, its environment and its user."""
    bases: dict[str, Path] = {}
    stages: dict[str, Path] = {}
    home, environment, user = scratch, {}, "0"
    for head, rest in instructions(DOCKERFILE.read_text()):
        began = time.monotonic()
        if head == "FROM":
            image, _, name = (*rest.split(), "", "")[:3]
            home, environment, user = scratch / (name or "final"), {}, "0"
            if image in stages:
                copy_of(stages[image], home)
            else:
                if image not in bases:
                    bases[image] = scratch / f"base-{len(bases)}"
                    base(image, bases[image])
                copy_of(bases[image], home)
            stages[name or "final"] = home
        elif head == "RUN":
            in_root(home, rest, environment)
        elif head == "COPY":
            copy(rest, stages, home)
        elif head == "ENV":
            environment |= dict(each.split("=", 1) for each in shlex.split(rest))
            environment["PATH"] = environment.get("PATH", "").replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        elif head == "USER":
            user = rest
        print(f"{time.monotonic() - began:7.1f} s  {head} {rest[:90]}", flush=True)
    return home, {name: value for name, value in environment.items() if value}, user


def main() -> None:
    """Builds, imports and says how long it took and how large it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        sys.exit("image-check needs root and debootstrap (apt-get install debootstrap)")
    if os.environ.get("IMAGE_CHECK_MOUNTS") != "own":
        # Mounts of a namespace of its own: they end with this process, whatever happens to it.
        os.environ["IMAGE_CHECK_MOUNTS"] = "own"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="image-check-", dir=options.scratch))
    try:
        home, environment, user = build(scratch)
        in_root(home, f"cd /home && python -c '{SMOKE}'", environment, user)
        size = subprocess.run(
            ["du", "-sx", "--block-size=1M", str(home)], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        print(f"image of {int(size):,} MB built and imported in {time.monotonic() - began:.0f} s")
    finally:
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(str(scratch)):
                subprocess.run(["umount", "--lazy", where], check=False)
        # Never into what could still be mounted there.
        subprocess.run(["rm", "-rf", "--one-file-system", str(scratch)], check=False)


if __name__ == "__main__":
    main()
