"""Errors as their providers word them, by name: what a script asks for with `like`."""

from dataclasses import dataclass
from typing import Any, Final

_RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "27s"}
_PER_MINUTE = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "15"}
_PER_DAY = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "200"}
_TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens."


@dataclass(frozen=True, slots=True)
class Told:
    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


def _openai(status: int, message: str, kind: str | None, code: str | int | None, **more: Any) -> Told:
    return Told(status, {"error": {"message": message, "type": kind, "param": None, "code": code, **more}})


def _flat(status: int, message: Any, kind: str, code: str | int | None) -> Told:
    return Told(status, {"object": "error", "message": message, "type": kind, "param": None, "code": code})


def _anthropic(status: int, kind: str, message: str) -> Told:
    return Told(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011C"})


def _google(status: int, word: str, message: str, *details: dict[str, Any]) -> Told:
    error = {"code": status, "message": message, "status": word}
    return Told(status, {"error": error | ({"details": list(details)} if details else {})})


def _violates(quota: dict[str, str]) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}


CORPUS: Final[dict[str, Told]] = {
    "openai/context": _openai(400, _TOO_LONG, "invalid_request_error", "context_length_exceeded"),
    "openai/key": _openai(401, "Incorrect API key provided: sk-0*0.", "invalid_request_error", "invalid_api_key"),
    "openai/quota": _openai(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "openai/ramp": _openai(429, "You are ramping up too fast.", "rate_limit_error", "slow_down"),
    "openai/overloaded": _openai(
        503, "The engine is currently overloaded.", "service_unavailable_error", "server_is_overloaded"
    ),
    "azure/filter": _openai(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        None,
        "content_filter",
        innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    ),
    "azure/deployment": Told(
        404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}
    ),
    "azure/key": Told(401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}}),
    "azure/rate": Told(
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests have exceeded the call rate limit. Please retry after 7 seconds.",
            }
        },
        (("retry-after", "7"),),
    ),
    "anthropic/context": _anthropic(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "anthropic/window": _anthropic(
        400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 184915 + 20000 > 204648"
    ),
    "anthropic/filter": _anthropic(400, "invalid_request_error", "Output blocked by content filtering policy"),
    "anthropic/credit": _anthropic(
        400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
    ),
    "anthropic/limit": _anthropic(400, "invalid_request_error", "You have reached your specified API usage limits."),
    "anthropic/overloaded": _anthropic(529, "overloaded_error", "Overloaded"),
    "anthropic/rate": _anthropic(429, "rate_limit_error", "This request would exceed your account's rate limit."),
    "gemini/context": _google(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "gemini/key": _google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "gemini/minute": _google(429, "RESOURCE_EXHAUSTED", "You exceeded your quota.", _violates(_PER_MINUTE), _RETRY),
    "gemini/day": _google(429, "RESOURCE_EXHAUSTED", "You exceeded your quota.", _violates(_PER_DAY), _RETRY),
    "gemini/overloaded": _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "gemini/model": _google(404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta."),
    "vllm/context": _openai(
        400,
        "You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 9.",
        "BadRequestError",
        400,
    ),
    "vllm/context_flat": _flat(400, _TOO_LONG, "BadRequestError", 400),
    "vllm/model": _flat(404, "The model `x` does not exist.", "NotFoundError", 404),
    "sglang/context": _flat(
        400, "The input (9001 tokens) is longer than the model's context length (8192 tokens).", "BadRequestError", 400
    ),
    "llamacpp/context": Told(
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
    ),
    "ollama/model": _openai(404, 'model "x" not found, try pulling it first', "api_error", None),
    "lmstudio/model": Told(400, {"error": "No models loaded. Please load a model in the developer page."}),
    "mistral/extra": _flat(
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}]},
        "invalid_request_error",
        None,
    ),
    "mistral/context": _flat(400, f"Prompt contains 40000 tokens. {_TOO_LONG}", "invalid_request_error", "3051"),
    "mistral/key": Told(401, {"detail": "Unauthorized"}),
    "mistral/rate": _flat(429, "Rate limit exceeded", "rate_limited", "1300"),
    "groq/rate": _openai(
        429, "Rate limit reached for model. Please try again in 7.66s.", "tokens", "rate_limit_exceeded"
    ),
    "groq/context": _openai(
        400, "Please reduce the length of the messages.", "invalid_request_error", "context_length_exceeded"
    ),
    "deepseek/balance": _openai(402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
    "deepseek/context": _openai(400, _TOO_LONG, "invalid_request_error", "invalid_request_error"),
    "xai/context": Told(
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        },
    ),
    "xai/key": Told(
        400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***yz."}
    ),
    "cerebras/context": Told(
        400,
        {
            "message": "Please reduce the length of the messages. Current length is 69553 while limit is 65536",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    ),
    "cerebras/busy": Told(
        429,
        {
            "message": "Requests are queued.",
            "type": "too_many_requests_error",
            "param": "queue",
            "code": "queue_exceeded",
        },
    ),
    "together/rate": _openai(429, "You have reached the rate limit specific to this model.", "model_rate_limit", None),
    "fireworks/context": Told(
        400,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "message": "The prompt is too long: 9001, model maximum context length: 8192",
            }
        },
    ),
    "openrouter/credit": Told(402, {"error": {"code": 402, "message": "Insufficient credits."}, "user_id": "u"}),
    "openrouter/context": Told(
        400, {"error": {"code": 400, "message": "This endpoint's maximum context length is 8192 tokens."}}
    ),
    "perplexity/key": Told(401, "<html><head><title>401 Authorization Required</title></head></html>"),
}
