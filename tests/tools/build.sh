#!/bin/sh
# Build the servers and checkers of the tests, pinned by the `tool` directives of
# tests/tools/*/go.mod, into .tools/bin.
#
#     tests/tools/build.sh            every folder here
#     tests/tools/build.sh s3 helm    only these
#
# A folder is built only if a file of it changed or a binary is missing. Versions are those of go.mod
# and go.sum. A folder's ldflags.sh prints more flags for the linker.
# The first build downloads modules and takes minutes on two cores: s3 one to two, kubernetes ten.
set -eu

tools=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$tools/../.." && pwd)/.tools/bin
export GOFLAGS="-mod=readonly ${GOFLAGS:-}" GOWORK=off CGO_ENABLED=0

command -v go >/dev/null || {
    echo "tests/tools/build.sh: found no 'go'; expected Go 1.26 or newer on PATH (https://go.dev/dl)" >&2
    exit 1
}
mkdir -p "$bin"
# Helm 3 and Helm 4 have one name.
program() { [ "$name" = helm3 ] && echo helm3 || basename "$1"; }
[ $# -gt 0 ] || set -- $(cd "$tools" && for mod in */go.mod; do dirname "$mod"; done)

for name in "$@"; do
    cd "$tools/$name"
    sum=$(cat $(find . -type f | LC_ALL=C sort) | sha256sum | cut -d' ' -f1)
    packages=$(go list -f '{{.ImportPath}}' tool)
    missing=""
    for package in $packages; do
        [ -x "$bin/$(program "$package")" ] || missing="$missing $(program "$package")"
    done
    if [ -z "$missing" ] && [ "$(cat "$bin/.$name.sum" 2>/dev/null)" = "$sum" ]; then
        echo "tools: $name is up to date"
        continue
    fi
    started=$(date +%s)
    ldflags='-s -w'
    [ ! -f ldflags.sh ] || ldflags="$ldflags $(sh ldflags.sh)"
    for package in $packages; do
        echo "tools: building $(program "$package") ($name; the first time takes minutes)"
        go build -trimpath -ldflags "$ldflags" -o "$bin/$(program "$package")" "$package"
    done
    echo "$sum" >"$bin/.$name.sum"
    echo "tools: built $name in $(($(date +%s) - started)) s"
done
