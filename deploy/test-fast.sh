#!/usr/bin/env bash
# Run the tests of the gateway against the compiled one: test-fast.sh VENV VENV_FAST [ARGUMENT OF PYTEST ...]
# From a copy without the source, which would be imported otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
pytest=$PWD/${1:?usage: test-fast.sh VENV VENV_FAST}/bin/pytest
fast=$PWD/${2:?usage: test-fast.sh VENV VENV_FAST}
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z | grep -zvE '^(gateway|sdk_client|agent_runtime)/' | xargs -0 cp --parents -t "$work"
cd "$work"
# Rooms that are compiled, and what is served from them; those whose tests read the source, or run other programs, are not.
rooms=(admin app chaos cli config dialects domain door formats money pipeline providers rows sim stores telemetry upstream)
[ $# -gt 0 ] || set -- "${rooms[@]/#/tests/}"
export PYTHONPATH
PYTHONPATH=$(echo "$fast"/lib/python3.*/site-packages)
export METERWAY_COMMAND=$fast/bin/meterway
"$pytest" -m "not long and not programs and not source" "$@"
