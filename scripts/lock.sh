#!/usr/bin/env bash
# Compiles requirements.lock from setup.py and scripts/tools.lock from scripts/tools.in: names, versions and
# hashes, and nothing that names a host. Versions already locked are kept; pass --upgrade to take newer ones,
# or --upgrade-package NAME for a single one.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

scripts/bootstrap.sh --tools
if [[ -z "${SSL_CERT_FILE:-}" && -n "${PIP_CERT:-}" ]]; then
    export SSL_CERT_FILE="$PIP_CERT"
fi

compile() {
    local source="$1" target="$2" draft
    shift 2
    draft="$(mktemp)"
    # The earlier lock is what uv takes its preferred versions from.
    [[ ! -f "$target" ]] || cp "$target" "$draft"
    .venv-tools/bin/uv pip compile "$source" "$@" --quiet --generate-hashes --python-version 3.11 \
        --python-platform x86_64-manylinux_2_39 --no-header --no-annotate --no-emit-index-url \
        --no-emit-find-links --output-file "$draft" >/dev/null
    if grep -nE '://|@|^ *-' "$draft" | grep -vE ':    --hash=sha256:[0-9a-f]{64}( \\)?$'; then
        echo "$source: the lines above name a host or are not name, version and hashes" >&2
        rm -f "$draft"
        return 1
    fi
    mv "$draft" "$target"
    chmod 644 "$target"
    echo "$target: $(grep -c '==' "$target") packages"
}

compile setup.py requirements.lock --extra dev "$@"
compile scripts/tools.in scripts/tools.lock "$@"
