"""Which archive, suite and key scripts/private_glibc.sh chooses on which system."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shell(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = f"set -uo pipefail; source scripts/private_glibc.sh; {command}"
    return subprocess.run(
        ["bash", "-c", script, "test", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("left", "right", "below"),
    [
        ("2.36", "2.39", True),
        ("2.4", "2.39", True),
        ("2.39", "2.39", False),
        ("2.41", "2.39", False),
        ("2.100", "2.39", False),
        ("3.0", "2.39", False),
    ],
)
def test_versions_are_compared_as_numbers(left, right, below):
    assert (shell('version_below "$1" "$2"', left, right).returncode == 0) is below


OS_RELEASES = {
    "debian 12": ('ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID="12"\n', "Debian bookworm trixie"),
    "debian 11": ("VERSION_CODENAME=bullseye\nID=debian\n", "Debian bullseye trixie"),
    "ubuntu 22.04": (
        "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\n",
        "Ubuntu jammy noble",
    ),
    "mint 21": (
        'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=vera\nUBUNTU_CODENAME=jammy\n',
        "Ubuntu jammy noble",
    ),
    "lmde 6": (
        'ID=linuxmint\nID_LIKE="debian"\nVERSION_CODENAME=faye\nDEBIAN_CODENAME="bookworm"\n',
        "Debian bookworm trixie",
    ),
}


@pytest.mark.parametrize("system", OS_RELEASES)
def test_the_donor_is_of_the_systems_own_distribution(system, tmp_path):
    text, expected = OS_RELEASES[system]
    (tmp_path / "os-release").write_text(text)
    assert shell('donor_release "$1"', tmp_path / "os-release").stdout.strip() == expected


@pytest.mark.parametrize("text", ["ID=fedora\nVERSION_ID=38\n", "ID=arch\n", "ID=debian\n", ""])
def test_other_systems_have_no_donor(text, tmp_path):
    (tmp_path / "os-release").write_text(text)
    result = shell('donor_release "$1"', tmp_path / "os-release")
    assert result.returncode != 0
    assert result.stdout == ""


def sources(tmp_path: Path, name: str, text: str, own: str = "bookworm", donor: str = "trixie") -> list[str]:
    """The stanzas written for one source list."""
    (tmp_path / name).write_text(text)
    out = tmp_path / "out"
    result = shell('donor_sources "$1" "$2" "$3" "$4"', own, donor, out, tmp_path / name)
    assert result.returncode == 0, result.stderr
    written = sorted(out.iterdir())
    assert int(result.stdout) == len(written)
    return [each.read_text() for each in written]


DEB822 = """\
# The archive.
Types: deb deb-src
URIs: http://archive.example/debian
# a remark inside
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/archive.gpg
"""

STANZA = """\
Types: deb
URIs: http://archive.example/debian
Suites: trixie
Components: main
Architectures: amd64
"""


def test_a_deb822_list_gives_its_archive_with_the_suite_swapped(tmp_path):
    assert sources(tmp_path, "debian.sources", DEB822) == [
        STANZA + "Signed-By: /usr/share/keyrings/archive.gpg\n"
    ]


def test_a_key_written_into_a_deb822_list_is_kept_whole(tmp_path):
    key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF==\n -----END PGP PUBLIC KEY BLOCK-----\n"
    text = f"{STANZA.replace('trixie', 'bookworm')}Signed-By:\n{key}"
    assert sources(tmp_path, "debian.sources", text) == [f"{STANZA}Signed-By:\n{key}"]


def test_field_names_are_read_in_any_case_and_folded(tmp_path):
    text = (
        "TYPES: deb\nuris:\n http://archive.example/debian\n"
        "suites:\n bookworm\n bookworm-updates\ncomponents: main\n"
    )
    assert sources(tmp_path, "debian.sources", text) == [STANZA]


def test_a_one_line_list_gives_its_archive_with_the_suite_swapped(tmp_path):
    text = (
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] "
        "http://archive.example/debian bookworm main\n"
        "deb-src http://archive.example/debian bookworm main\n"
        "deb http://archive.example/debian bookworm-updates main # newer\n"
        "deb http://archive.example/debian-security bookworm-security main\n"
    )
    assert sources(tmp_path, "sources.list", text) == [
        STANZA + "Signed-By: /usr/share/keyrings/archive.gpg\n"
    ]


def test_ubuntus_list_gives_noble(tmp_path):
    text = (
        "deb http://archive.example/debian jammy main restricted\n"
        "deb http://archive.example/debian jammy universe\n"
        "deb http://security.example/ubuntu jammy-security main\n"
    )
    assert sources(tmp_path, "sources.list", text, "jammy", "noble") == [STANZA.replace("trixie", "noble")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("off.sources", DEB822.replace("Types:", "Enabled: no\nTypes:")),
        ("source-only.sources", DEB822.replace("deb deb-src", "deb-src")),
        ("vendor.sources", DEB822.replace("bookworm bookworm-updates", "nodistro")),
        ("vendor.list", "deb https://vendor.example/apt cloud-sdk main\n"),
        ("other-component.list", "deb https://vendor.example/linux/debian bookworm stable\n"),
        ("exact-path.list", "deb https://vendor.example/repo ./\n"),
        ("disc.list", "deb cdrom:[Debian]/ bookworm main\n"),
    ],
)
def test_what_is_not_the_systems_archive_is_passed_over(name, text, tmp_path):
    assert sources(tmp_path, name, text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list",
            "deb [trusted=yes allow-insecure=yes] http://archive.example/debian bookworm main\n",
        ),
        ("debian.sources", STANZA.replace("trixie", "bookworm") + "Trusted: yes\nAllow-Insecure: yes\n"),
    ],
)
def test_no_option_that_switches_signatures_off_is_carried_over(name, text, tmp_path):
    assert sources(tmp_path, name, text) == [STANZA]


def test_an_archive_listed_twice_is_asked_once(tmp_path):
    (tmp_path / "sources.list").write_text("deb http://archive.example/debian bookworm main\n")
    (tmp_path / "debian.sources").write_text(DEB822)
    result = shell(
        'donor_sources bookworm trixie "$1" "$2" "$3"',
        tmp_path / "out",
        tmp_path / "sources.list",
        tmp_path / "debian.sources",
    )
    assert result.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("release", "accepted"),
    [
        ("Origin: Debian\nSuite: stable\nCodename: trixie\n", True),
        ("Origin: Vendor\nSuite: trixie\nCodename: trixie\n", False),
        ("Origin: Debian Backports\nCodename: trixie\n", False),
        ("Origin: Debian\nCodename: bookworm\n", False),
    ],
)
def test_an_archive_counts_only_when_its_release_file_says_so(release, accepted, tmp_path):
    (tmp_path / "archive.example_dists_trixie_InRelease").write_text(release)
    assert (shell('is_origin "$1" Debian trixie', tmp_path).returncode == 0) is accepted


def test_apt_reads_and_writes_its_own_folder_only(tmp_path):
    text = shell('apt_options "$1/one.sources" "$1"', tmp_path).stdout
    for setting in ("Dir::State::lists", "Dir::Cache", "Dir::Cache::archives", "Dir::Etc::sourcelist"):
        assert f'{setting} "{tmp_path}/' in text
    assert 'Dir::Etc::sourceparts "-";' in text
    assert 'AllowInsecureRepositories "false";' in text
    assert "#clear APT::Update::Post-Invoke;" in text
