#!/usr/bin/env bash
# Builds one of our images, unless the engine has it already, made of the same files:
#
#     scripts/build_image.sh daemon|sandbox IMAGE [--build-arg NAME=VALUE …]
#
# The sum of what went in is a label of the image. Where no registry can be reached, the base is made on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

part=$1 image=$2
shift 2
base=debian:bookworm-slim
label=cli-server.inputs

# What docker/*/Dockerfile copies.
case $part in
daemon) inputs=(LICENSE Makefile README.md pyproject.toml requirements backends daemon docker/daemon protocol scripts webui) ;;
sandbox) inputs=(requirements/build.txt requirements/npm/opencode requirements/npm/plugin docker/sandbox) ;;
*) echo "daemon or sandbox, not $part" >&2 && exit 2 ;;
esac

docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" 2>/dev/null || scripts/base_image.sh "$base"

files() {
    find "${inputs[@]}" .dockerignore \( -name node_modules -o -name __pycache__ -o -path daemon/webroot -o -path daemon/downloads \) \
        -prune -o -type f -printf '%p\0' | LC_ALL=C sort --zero-terminated
}
base_id=$(docker image inspect --format '{{.Id}}' "$base")
sum=$({ echo "$base_id" "$@"; files | xargs -0 sha256sum; } | sha256sum | cut -d ' ' -f 1)
if [ "$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null)" = "$sum" ]; then
    exit 0
fi

echo "building the image $image"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The host's network, because some hosts have no other that reaches Debian, PyPI and npm.
if ! docker build --network host --file "docker/$part/Dockerfile" --tag "$image" --label "$label=$sum" "$@" . >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
fi
