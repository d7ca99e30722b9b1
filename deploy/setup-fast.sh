#!/usr/bin/env bash
# Build the project with its hot rooms compiled to C extensions and install it into the directory named by $1.
set -euo pipefail
venv=${1:?usage: setup-fast.sh DIRECTORY}
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The wheel is built in an environment of its own: with the compiler that is pinned, not the newest one.
export PIP_CONSTRAINT=$PWD/constraints.txt PIP_BUILD_CONSTRAINT=$PWD/constraints.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "compiling the hot rooms (some minutes)" >&2
# In a copy: extensions beside the source would shadow every later change of it.
mkdir "$work/source"
cp -r gateway sdk_client agent_runtime pyproject.toml README.md LICENSE CHANGELOG.md constraints.txt "$work/source"
"$python" deploy/native.py "$work/source/gateway"
HATCH_BUILD_HOOK_ENABLE_MYPYC=1 "$python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt "$work"/meterway-*.whl
echo "ready: $venv/bin/meterway"
