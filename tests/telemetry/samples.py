"""Records of exchanges, for the tests of this room and its microbenchmark."""

from dataclasses import replace

from gateway.domain.errors import Fault
from gateway.domain.record import Attempt, Drop, ExchangeRecord, Provenance
from gateway.domain.reply import NO_USAGE, Usage

GOOD = ExchangeRecord(
    request_id="req_1",
    operation="chat",
    dialect="openai",
    stream=True,
    tenant="demo",
    key_id="demo#0",
    model="assistant",
    status=200,
    error_code=None,
    fault=None,
    started_at_s=1_800_000_000.1234,
    duration_s=1.5,
    overhead_s=0.0004,
    first_token_s=0.3,
    attempts=(Attempt("openai/gpt-4.1#0", "openai", "gpt-4.1", 0.0, 1.4, 200, None),),
    drops=(),
    usage=Usage(1000, 200, 600, 50),
    provenance=Provenance.EXACT,
    cost_nano_usd=3_600_000,
    sticky="kept",
    retries_denied=0,
    panic=False,
    committed=True,
    client_gone=False,
    finish_reasons=("stop",),
)
FAILED_OVER = replace(
    GOOD,
    attempts=(
        Attempt("openai/gpt-4.1#0", "openai", "gpt-4.1", 0.0, 0.2, 503, "server_error"),
        Attempt("openai/gpt-4.1#0", "openai", "gpt-4.1", 0.3, 0.2, 503, "server_error", 0.1),
        Attempt("anthropic/claude#0", "anthropic", "claude", 0.6, 1.4, 200, None),
    ),
    drops=(Drop("groq/llama#0", "circuit_open"),),
    sticky="moved",
    retries_denied=1,
    panic=True,
)
UNKNOWN_MODEL = replace(
    GOOD,
    model="anything-" + "x" * 10_000,
    status=404,
    error_code="model_not_found",
    fault=Fault.CALLER,
    first_token_s=None,
    attempts=(),
    usage=NO_USAGE,
    provenance=Provenance.NONE,
    cost_nano_usd=None,
    sticky="none",
    committed=False,
    finish_reasons=(),
)
ABORTED = replace(GOOD, error_code="upstream_stalled", fault=Fault.PROVIDER, provenance=Provenance.COUNTED)
GONE = replace(GOOD, status=499, fault=Fault.CALLER, client_gone=True, provenance=Provenance.COUNTED)
UNPRICED = replace(GOOD, cost_nano_usd=None)
ALL = (GOOD, FAILED_OVER, UNKNOWN_MODEL, ABORTED, GONE, UNPRICED)
