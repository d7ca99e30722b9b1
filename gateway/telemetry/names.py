"""Every metric that the gateway has: name, unit, labels and buckets."""

from dataclasses import dataclass

from gateway.domain.symbol import Symbol


class Kind(Symbol):
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One of a kind, thus equal to itself alone.

    `scale` turns the counted integer into the exported unit; `pulled` values are read when metrics are collected.
    """

    name: str
    kind: Kind
    unit: str
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    scale: float = 1
    pulled: bool = False


SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple([float(4**power) for power in range(14)])
FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
MILLISECONDS = tuple([round(bound * 1000, 3) for bound in SECONDS])


def _counter(name: str, unit: str, about: str, *labels: str, scale: float = 1) -> Instrument:
    return Instrument(name, Kind.COUNTER, unit, about, labels, scale=scale)


def _histogram(name: str, unit: str, about: str, bounds: tuple[float, ...], *labels: str) -> Instrument:
    return Instrument(name, Kind.HISTOGRAM, unit, about, labels, bounds)


def _pulled(name: str, kind: Kind, unit: str, about: str, *labels: str) -> Instrument:
    return Instrument(name, kind, unit, about, labels, pulled=True)


# The checklist's names, as agent SDKs have them.
AGENT_INPUT = _histogram(
    "agent.llm.tokens.input", "{token}", "Input tokens of one call.", TOKENS, "model", "provider", "tenant"
)
AGENT_OUTPUT = _histogram(
    "agent.llm.tokens.output", "{token}", "Output tokens of one call.", TOKENS, "model", "provider", "tenant"
)
AGENT_STARTED = _counter("agent.llm.call.started", "{call}", "Calls that reached a provider.", "model", "provider")
AGENT_COMPLETED = _counter("agent.llm.call.completed", "{call}", "Calls that were answered.", "model", "provider")
AGENT_FAILED = _counter("agent.llm.call.failed", "{call}", "Calls that were not answered.", "model", "provider")
AGENT_LATENCY = _histogram("agent.llm.latency_ms", "", "Milliseconds of one call.", MILLISECONDS, "model", "provider")
AGENT = (AGENT_INPUT, AGENT_OUTPUT, AGENT_STARTED, AGENT_COMPLETED, AGENT_FAILED, AGENT_LATENCY)

# OpenTelemetry GenAI. The operation, provider and model labels are shared by all.
_GENAI = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
GENAI_TOKENS = _histogram(
    "gen_ai.client.token.usage", "{token}", "Tokens of one operation.", TOKENS, *_GENAI, "gen_ai.token.type"
)
GENAI_DURATION = _histogram(
    "gen_ai.client.operation.duration", "s", "Duration of one operation.", SECONDS, *_GENAI, "error.type"
)
GENAI_FIRST_CHUNK = _histogram(
    "gen_ai.client.operation.time_to_first_chunk", "s", "Time to the first chunk of a stream.", SECONDS, *_GENAI
)
GENAI_1_41 = (GENAI_TOKENS, GENAI_DURATION, GENAI_FIRST_CHUNK)

_MODALITY = "gen_ai.token.modality"
LATEST_INPUT = _counter(
    "gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens, cached ones included.", *_GENAI, _MODALITY
)
LATEST_OUTPUT = _counter(
    "gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens, reasoning included.", *_GENAI, _MODALITY
)
LATEST_CACHED = _counter(
    "gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", "Cached input tokens.", *_GENAI, _MODALITY
)
LATEST_REASONING = _counter(
    "gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", "Reasoning tokens.", *_GENAI, _MODALITY
)
LATEST_INPUT_SIZE = _histogram(
    "gen_ai.client.inference.operation.input_tokens",
    "{token}",
    "Input of one operation.",
    TOKENS,
    *_GENAI,
    "error.type",
)
LATEST_OUTPUT_SIZE = _histogram(
    "gen_ai.client.inference.operation.output_tokens",
    "{token}",
    "Output of one operation.",
    TOKENS,
    *_GENAI,
    "error.type",
)
LATEST_DURATION = _histogram(
    "gen_ai.client.inference.duration", "s", "Duration of one operation.", SECONDS, *_GENAI, "error.type"
)
LATEST_FIRST_CHUNK = _histogram(
    "gen_ai.client.inference.time_to_first_chunk", "s", "Time to the first chunk of a stream.", SECONDS, *_GENAI
)
GENAI_LATEST = (
    LATEST_INPUT,
    LATEST_OUTPUT,
    LATEST_CACHED,
    LATEST_REASONING,
    LATEST_INPUT_SIZE,
    LATEST_OUTPUT_SIZE,
    LATEST_DURATION,
    LATEST_FIRST_CHUNK,
)

# Ours. `model` is the name that callers use, `target` is provider/model.
REQUESTS = _counter(
    "gateway.requests", "{request}", "Answered requests.", "tenant", "model", "operation", "outcome", "fault", "code"
)
DURATION = _histogram(
    "gateway.request.duration", "s", "From the first byte in to the last byte out.", SECONDS, "model", "outcome"
)
OVERHEAD = _histogram(
    "gateway.overhead", "s", "The part of a request in which no provider was waited for.", OVERHEAD_SECONDS, "operation"
)
FIRST_TOKEN = _histogram(
    "gateway.first_token",
    "s",
    "From the start to the first content for the caller.",
    FIRST_TOKEN_SECONDS,
    "model",
    "provider",
)
ATTEMPTS = _counter("gateway.attempts", "{attempt}", "Upstream calls.", "provider", "deployment", "failure")
FAILOVERS = _counter("gateway.failovers", "{failover}", "Moves to another deployment.", "model", "from", "to")
RETRIES_DENIED = _counter("gateway.retries.denied", "{retry}", "Retries that the retry budget refused.", "model")
DROPPED = _counter("gateway.targets.dropped", "{target}", "Targets left out of a plan.", "deployment", "reason")
PANICS = _counter("gateway.panics", "{request}", "Requests sent although every target looked bad.", "model")
STICKY = _counter("gateway.sticky", "{request}", "Sessions: kept, moved, new, hashed.", "model", "result")
ABORTS = _counter("gateway.stream.aborts", "{stream}", "Streams that broke after they had begun.", "model", "code")
GONE = _counter("gateway.client.gone", "{request}", "Callers that hung up.", "model", "stage")
TOKENS_USED = _counter(
    "gateway.tokens",
    "{token}",
    "Tokens by kind, also of attempts without an answer that providers bill.",
    "tenant",
    "model",
    "provider",
    "kind",
    "provenance",
)
COST = _counter("gateway.cost.usd", "{USD}", "What providers charge.", "tenant", "model", "provider", scale=1e-9)
UNPRICED = _counter("gateway.unpriced", "{request}", "Requests whose cost is not known.", "model", "provider")
OVERRUNS = _counter(
    "gateway.overruns", "{request}", "Requests that used more than was reserved.", "tenant", "model", "provider"
)
SECURITY = _counter("gateway.security.events", "{event}", "Redirects and TLS faults of a provider.", "provider", "kind")
RECORDS_FAILED = _counter("gateway.records.failed", "{record}", "Records that a sink could not take.", "sink")
LOG_DROPPED = _pulled("gateway.log.dropped", Kind.COUNTER, "{line}", "Access log lines not written.")
CONNECTIONS_REFUSED = _pulled(
    "gateway.connections.refused",
    Kind.COUNTER,
    "{connection}",
    "Client connections over a cap: `address`, `all`.",
    "reason",
)
BREAKER_STATE = _pulled("gateway.breaker.state", Kind.GAUGE, "", "0 closed, 1 half-open, 2 open.", "deployment")
BREAKER_MOVES = _pulled(
    "gateway.breaker.transitions", Kind.COUNTER, "{transition}", "Changes of circuit state.", "deployment"
)
COOLDOWN = _pulled(
    "gateway.cooldown", Kind.GAUGE, "s", "Seconds until a throttled deployment is used again.", "deployment"
)
MISCONFIGURED = _pulled(
    "gateway.misconfigured",
    Kind.GAUGE,
    "s",
    "Seconds until a misconfigured deployment is tried again.",
    "deployment",
    "reason",
)
LIMIT_USED = _pulled(
    "gateway.limit.used", Kind.GAUGE, "", "How full a provider key's limit per minute is, from 0 to 1.", "key", "limit"
)
LOOP_BLOCKS = _pulled("gateway.loop.blocks", Kind.COUNTER, "{block}", "Times the event loop was held up over 100 ms.")
IN_FLIGHT = _pulled("gateway.in_flight", Kind.GAUGE, "{request}", "Requests being served.")
UPSTREAM_IN_FLIGHT = _pulled(
    "gateway.upstream.in_flight", Kind.GAUGE, "{attempt}", "Upstream calls being made.", "deployment"
)
UPSTREAM_CONNECTIONS = _pulled(
    "gateway.upstream.connections", Kind.GAUGE, "{connection}", "Open connections.", "provider", "state"
)
GATEWAY = (
    REQUESTS,
    DURATION,
    OVERHEAD,
    FIRST_TOKEN,
    ATTEMPTS,
    FAILOVERS,
    RETRIES_DENIED,
    DROPPED,
    PANICS,
    STICKY,
    ABORTS,
    GONE,
    TOKENS_USED,
    COST,
    UNPRICED,
    OVERRUNS,
    SECURITY,
    RECORDS_FAILED,
    LOG_DROPPED,
    CONNECTIONS_REFUSED,
    LOOP_BLOCKS,
    BREAKER_STATE,
    BREAKER_MOVES,
    COOLDOWN,
    MISCONFIGURED,
    LIMIT_USED,
    IN_FLIGHT,
    UPSTREAM_IN_FLIGHT,
    UPSTREAM_CONNECTIONS,
)

SEMCONV = {"1.41": GENAI_1_41, "latest": GENAI_LATEST, "both": (*GENAI_1_41, *GENAI_LATEST)}
ALL = (*AGENT, *GENAI_1_41, *GENAI_LATEST, *GATEWAY)
