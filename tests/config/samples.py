"""One valid configuration with its environment, for the tests of this room."""

EXAMPLE = """\
listen: {host: 127.0.0.1, port: 8080}
admin:  {host: 127.0.0.1, port: 8081, key: "env:METERWAY_ADMIN_KEY"}
database: "sqlite:///meterway.db"        # or postgresql://user@host/db
redis: null
providers:
  openai:    {kind: openai, keys: ["env:OPENAI_API_KEY"], limits: {requests_per_minute: 5000, tokens_per_minute: 2000000, concurrent: 200}}
  anthropic: {kind: anthropic, keys: ["env:ANTHROPIC_API_KEY"]}
  local:     {kind: openai, base_url: "http://127.0.0.1:9000/v1", keys: ["none"]}
models:
  assistant:                              # the name callers use
    targets:
      - {provider: openai, model: gpt-4.1, priority: 1, weight: 3}
      - {provider: local, model: qwen3, priority: 1, weight: 1}
      - {provider: anthropic, model: claude-sonnet-4-5, priority: 2}
    strategy: weighted                    # weighted | least_latency | cheapest, within one priority
    sticky: true
    attempts: 3
    timeouts: {connect_s: 3, first_token_s: 60, idle_s: 60, total_s: 600}
    fallback_models: [assistant-small]    # other routes, e.g. larger context
  assistant-small:
    targets: [{provider: local, model: qwen3}]
tenants:                                  # optional bootstrap; afterwards the admin API owns them
  - {id: demo, keys: ["env:METERWAY_DEMO_KEY"], budgets: [{usd: 5, per: day}], limits: {requests_per_minute: 600, tokens_per_minute: 200000, concurrent: 20}}
prices:
  unknown: refuse                         # refuse | unpriced | {input_usd_per_million: 1, output_usd_per_million: 5}
  overrides:
    - {provider: local, model: qwen3, input_usd_per_million: 0.1, cached_input_usd_per_million: 0.02, output_usd_per_million: 0.4, from: 2026-01-01}
telemetry: {otlp_endpoint: null, service_name: meterway, log_level: info}
"""  # noqa: E501 - the example of the design document, as it stands there

ENVIRON = {
    "METERWAY_ADMIN_KEY": "canary-admin-Zq81hTTx0Lk2",
    "OPENAI_API_KEY": "sk-canary-openai-81hTTx0Lk2",
    "ANTHROPIC_API_KEY": "sk-ant-canary-91hTTx0Lk2",
    "METERWAY_DEMO_KEY": "gw_canary_demo_71hTTx0Lk2",
}

SMALL = """\
providers:
  p: {kind: openai, keys: ["env:KEY"]}
models:
  m: {targets: [{provider: p, model: x}]}
tenants:
  - {id: t, keys: ["env:TENANT"]}
"""
SMALL_ENVIRON = {"KEY": "sk-1", "TENANT": "a-tenant-key-of-some-length", "ADMIN": "Zq81hTTx0Lk2Zq81hTTx0Lk2"}
