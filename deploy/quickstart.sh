#!/usr/bin/env bash
# Serve the quick start: real providers when a provider key is in the environment, simulated ones otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
meterway=${METERWAY:-.venv/bin/meterway}

secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
export METERWAY_DEMO_KEY=${METERWAY_DEMO_KEY:-gw_demo_$(secret)}
export METERWAY_ADMIN_KEY=${METERWAY_ADMIN_KEY:-gw_admin_$(secret)}

config=deploy/quickstart.yaml
if [ -n "${OPENAI_API_KEY:-}" ]; then config=deploy/openai.yaml; fi
config=${CONFIG:-$config}

cat >&2 <<TEXT

  Meterway with $config

  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1
  export OPENAI_API_KEY=$METERWAY_DEMO_KEY
  curl \$OPENAI_BASE_URL/chat/completions -H "authorization: Bearer \$OPENAI_API_KEY" \\
       -d '{"model": "assistant", "messages": [{"role": "user", "content": "Hello!"}]}'

  metrics: curl -H "authorization: Bearer $METERWAY_ADMIN_KEY" http://127.0.0.1:8081/metrics

TEXT
exec "$meterway" serve --config "$config"
