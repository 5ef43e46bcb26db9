# shellcheck shell=bash
# A C library of its own for the virtual environment.
#
# ml-metadata and tensorflow-data-validation publish wheels for glibc 2.39 and newer only. On an older Debian
# or Ubuntu the interpreter inside .venv is a copy that is linked to the glibc of a later release, unpacked
# beside it. The packages come from the archive the machine is configured for, with the suite swapped, and
# apt checks their signatures; the system's libraries, apt's lists and its cache stay as they are.
#
# Sourced by bootstrap.sh; sourcing it has no effect but to define the functions.

readonly GLIBC_NEEDED=2.39
readonly GLIBC_PACKAGES=(libc6 libstdc++6 libgcc-s1 zlib1g)
# Loaded before anything else, so that no extension module can pull the system's older copy in.
readonly GLIBC_PRELOADED=(
    libstdc++.so.6 libgcc_s.so.1 libm.so.6 libz.so.1 libdl.so.2
    librt.so.1 libpthread.so.0 libresolv.so.2 libutil.so.1
)

# version_below A B: succeeds when version A is older than version B.
version_below() {
    [[ "$1" != "$2" ]] && [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" == "$1" ]]
}

# system_glibc: the version of the system's glibc; fails on a system without one.
system_glibc() {
    local answer
    answer="$(getconf GNU_LIBC_VERSION 2>/dev/null)" || return 1
    [[ "$answer" == "glibc "* ]] || return 1
    printf '%s\n' "${answer#glibc }"
}

# os_value FILE KEY: the value of KEY in an os-release file, without its quotes.
os_value() {
    sed -n "s/^$2=//p" "$1" | tail -n 1 | tr -d "\"'"
}

# donor_release OS_RELEASE: "DISTRIBUTION OWN_SUITE DONOR_SUITE" for the system OS_RELEASE describes.
# Derivatives count as what they are derived from; fails on anything but Debian and Ubuntu.
donor_release() {
    local os_release="$1" family codename
    family=" $(os_value "$os_release" ID) $(os_value "$os_release" ID_LIKE) "
    case "$family" in
        *" ubuntu "*)
            codename="$(os_value "$os_release" UBUNTU_CODENAME)"
            [[ -n "$codename" ]] || codename="$(os_value "$os_release" VERSION_CODENAME)"
            [[ -n "$codename" ]] || return 1
            printf 'Ubuntu %s noble\n' "$codename"
            ;;
        *" debian "*)
            codename="$(os_value "$os_release" DEBIAN_CODENAME)"
            [[ -n "$codename" ]] || codename="$(os_value "$os_release" VERSION_CODENAME)"
            [[ -n "$codename" ]] || return 1
            printf 'Debian %s trixie\n' "$codename"
            ;;
        *) return 1 ;;
    esac
}

# donor_sources OWN_SUITE DONOR_SUITE OUT_DIR FILE...: writes OUT_DIR/1.sources, 2.sources, ... with one deb822
# stanza per archive that carries OWN_SUITE with the component "main" in FILE... (*.list or *.sources), and
# prints how many there are. Address and signing key are kept and nothing else is, least of all an option that
# would switch the signature check off. Whether an archive is the distribution's own is seen from its signed
# Release file later (see is_origin).
donor_sources() {
    local own="$1" donor="$2" out="$3"
    shift 3
    mkdir -p "$out"
    awk -v own="$own" -v donor="$donor" -v out="$out" '
        function has(list, word,    parts, n, i) {
            n = split(list, parts, /[ \t\n]+/)
            for (i = 1; i <= n; i++) if (parts[i] == word) return 1
            return 0
        }
        function emit(uri, key,    name) {
            if (uri !~ /^(https?|ftp|file|copy|mirror[+a-z]*|tor[+a-z]*|ar[+a-z]*):/) return
            if (seen[uri]++) return
            name = out "/" (++count) ".sources"
            printf "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: amd64\n", uri, donor > name
            if (key != "") printf "Signed-By:%s\n", key > name
            close(name)
        }
        function end_stanza(    uris, n, i) {
            if (has(field["types"], "deb") && has(field["suites"], own) && has(field["components"], "main") \
                && tolower(field["enabled"]) !~ /^[ \t]*(no|false|without|off|disable)/) {
                n = split(field["uris"], uris, /[ \t\n]+/)
                for (i = 1; i <= n; i++) if (uris[i] != "") emit(uris[i], field["signed-by"])
            }
            delete field
            current = ""
        }
        function one_line(line,    options, key, parts, n, i, uri, suite, components) {
            sub(/#.*/, "", line)
            if (line !~ /^[ \t]*deb[ \t]/) return
            sub(/^[ \t]*deb[ \t]+/, "", line)
            key = ""
            if (line ~ /^\[/) {
                options = substr(line, 2, index(line, "]") - 2)
                line = substr(line, index(line, "]") + 1)
                n = split(options, parts, /[ \t]+/)
                for (i = 1; i <= n; i++)
                    if (tolower(parts[i]) ~ /^signed-by=/) {
                        key = " " substr(parts[i], 11)
                        gsub(/,/, " ", key)
                    }
            }
            sub(/^[ \t]+/, "", line)
            n = split(line, parts, /[ \t]+/)
            uri = parts[1]
            suite = parts[2]
            components = ""
            for (i = 3; i <= n; i++) components = components " " parts[i]
            if (suite == own && has(components, "main")) emit(uri, key)
        }
        FNR == 1 {
            end_stanza()
            deb822 = (FILENAME ~ /\.sources$/)
        }
        !deb822 { one_line($0); next }
        /^#/ { next }
        /^[ \t]*$/ { end_stanza(); next }
        /^[ \t]/ { if (current != "") field[current] = field[current] "\n" $0; next }
        {
            current = tolower(substr($0, 1, index($0, ":") - 1))
            field[current] = substr($0, index($0, ":") + 1)
        }
        END {
            end_stanza()
            print count + 0
        }
    ' "$@" /dev/null
}

# apt_configuration_files: the machine's source lists, those of the distribution first.
apt_configuration_files() {
    local file
    for file in /etc/apt/sources.list.d/{debian,ubuntu}.sources /etc/apt/sources.list \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
        [[ -r "$file" ]] && printf '%s\n' "$file"
    done
    return 0
}

# apt_options SOURCES WORK_DIR: an apt configuration under which apt reads SOURCES only and writes only below
# WORK_DIR. The hooks are cleared because some images use them to empty the system's package cache.
apt_options() {
    cat <<CONFIGURATION
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::sourcelist "$1";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State::lists "$2/lists";
Dir::Cache "$2/cache";
Dir::Cache::archives "$2/cache/archives";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONFIGURATION
}

# is_origin LISTS_DIR ORIGIN SUITE: succeeds when the Release file that apt verified and kept in LISTS_DIR says
# it is ORIGIN's SUITE.
is_origin() {
    local release
    for release in "$1"/*Release; do
        [[ -f "$release" ]] || continue
        grep -qx "Origin: $2" "$release" && grep -qx "Codename: $3" "$release" && return 0
    done
    return 1
}

# fetch_donor_packages OS_RELEASE WORK_DIR: leaves the packages unpacked below WORK_DIR/unpacked.
fetch_donor_packages() {
    local os_release="$1" work="$2" origin own donor count i package
    local -a files
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null \
        || ! read -r origin own donor < <(donor_release "$os_release"); then
        echo "this system is neither Debian nor Ubuntu and its glibc is older than $GLIBC_NEEDED" >&2
        return 1
    fi
    mapfile -t files < <(apt_configuration_files)
    count="$(donor_sources "$own" "$donor" "$work/sources" "${files[@]}")"
    if [[ "$count" == 0 ]]; then
        echo "no archive for $own/main is configured in /etc/apt" >&2
        return 1
    fi
    for ((i = 1; i <= count; i++)); do
        rm -rf "$work/lists" "$work/cache" "$work/debs" "$work/unpacked"
        mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/unpacked"
        apt_options "$work/sources/$i.sources" "$work" >"$work/apt.conf"
        apt-get -c "$work/apt.conf" -qq update >"$work/log" 2>&1 || continue
        is_origin "$work/lists" "$origin" "$donor" || continue
        (cd "$work/debs" && apt-get -c "$work/apt.conf" -qq download \
            "${GLIBC_PACKAGES[@]/%//$donor}" >>"$work/log" 2>&1) || continue
        for package in "$work"/debs/*.deb; do
            dpkg -x "$package" "$work/unpacked"
        done
        return 0
    done
    [[ ! -s "$work/log" ]] || sed 's/^/    /' "$work/log" >&2
    echo "none of the $count configured archives gave $origin's $donor with a valid signature" >&2
    return 1
}

# give_private_glibc VENV PATCHELF WORK_DIR [OS_RELEASE]: makes VENV/bin/python a copy that runs on the glibc
# below VENV/glibc. Safe to repeat; the interpreter is put in place last.
give_private_glibc() {
    local venv="$1" patchelf="$2" work="$3" os_release="${4:-/etc/os-release}"
    local libraries="$venv/glibc" loader base copy search directory name
    loader="$libraries/ld-linux-x86-64.so.2"
    fetch_donor_packages "$os_release" "$work" || return 1
    rm -rf "$libraries"
    mkdir -p "$libraries"
    for directory in "$work"/unpacked/lib/x86_64-linux-gnu "$work"/unpacked/usr/lib/x86_64-linux-gnu; do
        [[ ! -d "$directory" ]] || find "$directory" -maxdepth 1 -name '*.so*' -exec cp -a -t "$libraries" {} +
    done
    if [[ ! -x "$loader" ]]; then
        echo "the unpacked packages hold no loader" >&2
        return 1
    fi

    base="$(readlink -f "$venv/bin/python")"
    copy="$venv/bin/.python-linked"
    cp --remove-destination "$base" "$copy"
    chmod u+w "$copy"
    search="$libraries:/usr/lib/x86_64-linux-gnu"
    # A directory that also holds a C library must not be searched ahead of ours.
    directory="$("$base" -I -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR") or "")')"
    if [[ -n "$directory" && ! -e "$directory/libc.so.6" ]]; then
        search="$directory:$search"
    fi
    "$patchelf" --set-interpreter "$loader" "$copy"
    "$patchelf" --force-rpath --set-rpath "$search" "$copy"
    for name in "${GLIBC_PRELOADED[@]}"; do
        "$patchelf" --add-needed "$name" "$copy"
    done
    "$copy" -I -S -c 'import os, sys; sys.exit(os.confstr("CS_GNU_LIBC_VERSION") != sys.argv[1])' \
        "glibc $("$loader" --version | sed -n '1s/.* \([0-9.]*[0-9]\)\.\{0,1\}$/\1/p')" || return 1
    mv -f "$copy" "$venv/bin/python"
}
