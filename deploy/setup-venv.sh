#!/usr/bin/env bash
# Create the virtual environment named by $1 and install the project with its pinned dependencies.
set -euo pipefail
venv=${1:?usage: setup-venv.sh DIRECTORY}
cd "$(dirname "$0")/.."

python=""
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "meterway needs Python 3.11 or newer and found none. Install it (Debian/Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "this Python cannot make virtual environments; installing python3-venv" >&2
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    fi
    "$python" -m venv "$venv" || { echo "please install it by hand: sudo apt install python3-venv" >&2; exit 1; }
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
echo "ready: $venv ($("$venv/bin/python" --version))"
