"""What can go wrong with one upstream attempt, and the table of what follows from it."""

from dataclasses import dataclass

from gateway.domain.reply import Usage
from gateway.domain.symbol import Symbol


class Sent(Symbol):
    """Whether the provider may have seen, and thus billed, the request."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class FailureKind(Symbol):
    """The rows U1-U29 of the failure table, by name.

    FILTERED_HERE is a CONTENT_FILTER on a route that asks another provider then.
    """

    DNS = "dns"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    RESET = "reset"
    HEAD_TIMEOUT = "head_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    STALLED = "stalled"
    TRUNCATED = "truncated"
    MALFORMED_STREAM = "malformed_stream"
    MALFORMED_BODY = "malformed_body"
    THROTTLED = "throttled"
    QUOTA_GONE = "quota_gone"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    FILTERED_HERE = "filtered_here"
    AUTH = "auth"
    MODEL_NOT_FOUND = "model_not_found"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    RESPONSE_TOO_LARGE = "response_too_large"
    POOL_FULL = "pool_full"
    DEADLINE = "deadline"


class Health(Symbol):
    """Which of the three separate health states a failure feeds."""

    NONE = "none"
    BREAKER = "breaker"
    SLOW = "slow"
    COOLDOWN = "cooldown"
    MISCONFIGURED = "misconfigured"


class Scope(Symbol):
    """How far a failure reaches: a retry within the scope would meet it again.

    SIZE is every target that is not known to take larger requests.
    """

    REQUEST = "request"
    SIZE = "size"
    DEPLOYMENT = "deployment"
    CREDENTIAL = "credential"
    MODEL = "model"
    PROVIDER = "provider"


class Charge(Symbol):
    """What a failed attempt may have cost: nothing, an unknown amount, or an estimate of what was produced."""

    NOTHING = "nothing"
    UNKNOWN = "unknown"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from a kind of failure: retries on the same target, fallback, health, reach, charge."""

    again: int
    fallback: bool
    health: Health
    scope: Scope
    charge: Charge


_B, _C, _M, _N, _S = Health.BREAKER, Health.COOLDOWN, Health.MISCONFIGURED, Health.NONE, Health.SLOW
_DEP, _CRED, _MODEL, _PROV, _REQ = Scope.DEPLOYMENT, Scope.CREDENTIAL, Scope.MODEL, Scope.PROVIDER, Scope.REQUEST
_SIZE = Scope.SIZE
_NO, _UNK, _EST = Charge.NOTHING, Charge.UNKNOWN, Charge.ESTIMATE

RULES: dict[FailureKind, Rule] = {
    FailureKind.DNS: Rule(1, True, _B, _PROV, _NO),
    FailureKind.REFUSED: Rule(0, True, _B, _PROV, _NO),
    FailureKind.CONNECT_TIMEOUT: Rule(0, True, _B, _PROV, _NO),
    FailureKind.TLS: Rule(0, True, _B, _PROV, _NO),
    FailureKind.RESET: Rule(0, True, _B, _DEP, _UNK),
    FailureKind.HEAD_TIMEOUT: Rule(0, True, _S, _DEP, _UNK),
    FailureKind.FIRST_TOKEN_TIMEOUT: Rule(0, True, _S, _DEP, _UNK),
    FailureKind.STALLED: Rule(0, True, _B, _DEP, _EST),
    FailureKind.TRUNCATED: Rule(0, True, _B, _DEP, _EST),
    FailureKind.MALFORMED_STREAM: Rule(0, True, _B, _DEP, _EST),
    FailureKind.MALFORMED_BODY: Rule(1, True, _B, _DEP, _UNK),
    FailureKind.THROTTLED: Rule(1, True, _C, _DEP, _NO),
    FailureKind.QUOTA_GONE: Rule(0, True, _M, _CRED, _NO),
    FailureKind.REQUEST_TIMEOUT: Rule(1, True, _B, _DEP, _NO),
    FailureKind.CONFLICT: Rule(1, True, _N, _DEP, _NO),
    FailureKind.SERVER_ERROR: Rule(1, True, _B, _DEP, _NO),
    FailureKind.OVERLOADED: Rule(0, True, _C, _MODEL, _NO),
    FailureKind.INVALID_REQUEST: Rule(0, False, _N, _REQ, _NO),
    FailureKind.CONTEXT_LENGTH: Rule(0, True, _N, _SIZE, _NO),
    FailureKind.CONTENT_FILTER: Rule(0, False, _N, _REQ, _NO),
    FailureKind.FILTERED_HERE: Rule(0, True, _N, _PROV, _NO),
    FailureKind.AUTH: Rule(0, True, _M, _CRED, _NO),
    FailureKind.MODEL_NOT_FOUND: Rule(0, True, _M, _MODEL, _NO),
    FailureKind.TOO_LARGE: Rule(0, True, _N, _SIZE, _NO),
    FailureKind.REDIRECT: Rule(0, True, _B, _DEP, _NO),
    FailureKind.RESPONSE_TOO_LARGE: Rule(0, True, _B, _DEP, _UNK),
    FailureKind.POOL_FULL: Rule(0, True, _N, _PROV, _NO),
    FailureKind.DEADLINE: Rule(0, False, _N, _REQ, _UNK),
}

CONNECT_KINDS = frozenset({FailureKind.DNS, FailureKind.REFUSED, FailureKind.CONNECT_TIMEOUT, FailureKind.TLS})


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt. `hint_s` is the provider's clamped wait hint; `reply` its error body, for 4xx as they are;
    `usage` what the provider counted nonetheless."""

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    sent: Sent = Sent.NO
    hint_s: float | None = None
    reply: bytes | None = None
    usage: Usage | None = None

    @property
    def rule(self) -> Rule:
        return RULES[self.kind]


class AttemptFailed(Exception):
    """Carries a Failure out of upstream, provider or relay code to the attempt loop."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
