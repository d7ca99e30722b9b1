"""The hosts that are known by name: which dialect they speak, where they are, and how each differs, as data."""

from dataclasses import dataclass

from gateway.domain.catalog import NATIVE, AuthStyle, Quirks

NEWER_LIMIT = "max_completion_tokens"
"""Reasoning models at OpenAI take the newer name alone; elsewhere the older one is what every host knows."""

_OLDER_LIMIT = ((NEWER_LIMIT, "max_tokens"),)
"""Where the newer name is refused, or overlooked so that nothing limits the output."""

PLAIN = Quirks()
_CHAT_ONLY: frozenset[str] = frozenset()
_NO_STORE = frozenset({"store", "metadata", "prompt_cache_key", "safety_identifier", "verbosity"})
_THOUGHTS = frozenset({"reasoning_content", "reasoning_details"})
"""Where what was thought is told, but refused when it comes back."""


@dataclass(frozen=True, slots=True)
class Host:
    """`dialect` is the wire dialect; `key_needed` is false where servers usually run without one.

    An empty `base_url` has to be configured.
    """

    dialect: str
    base_url: str
    auth: AuthStyle = AuthStyle.BEARER
    key_needed: bool = True
    quirks: Quirks = PLAIN


SIM = "sim"
AZURE = "azure"
AZURE_VERSION = "2024-10-21"


def _chat(base_url: str, quirks: Quirks = PLAIN) -> Host:
    """Chat completions alone; the responses API is translated."""
    return Host("chat", base_url, quirks=quirks)


def _local(port: int, quirks: Quirks = PLAIN) -> Host:
    return Host("chat", f"http://127.0.0.1:{port}/v1", key_needed=False, quirks=quirks)


HOSTS: dict[str, Host] = {
    "openai": Host("openai", "https://api.openai.com/v1", quirks=Quirks(native=NATIVE)),
    "anthropic": Host(
        "anthropic", "https://api.anthropic.com/v1", AuthStyle.X_API_KEY, quirks=Quirks(native=_CHAT_ONLY)
    ),
    "azure": Host("openai", "", AuthStyle.API_KEY, quirks=Quirks(NEWER_LIMIT, AZURE_VERSION)),
    "gemini": Host(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        AuthStyle.X_GOOG_API_KEY,
        quirks=Quirks(native=_CHAT_ONLY),
    ),
    "cerebras": _chat(
        "https://api.cerebras.ai/v1",
        Quirks(
            NEWER_LIMIT,
            hints=_NO_STORE,
            refuses=frozenset({"frequency_penalty", "presence_penalty"}),
            refuses_said=_THOUGHTS,
            native=_CHAT_ONLY,
        ),
    ),
    "deepseek": _chat("https://api.deepseek.com/v1", Quirks(renames=_OLDER_LIMIT, hints=_NO_STORE, native=_CHAT_ONLY)),
    "fireworks": _chat("https://api.fireworks.ai/inference/v1"),
    "groq": _chat(
        "https://api.groq.com/openai/v1",
        Quirks(
            NEWER_LIMIT,
            refuses=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
            refuses_said=_THOUGHTS | {"reasoning"},
            native=_CHAT_ONLY,
        ),
    ),
    "mistral": _chat(
        "https://api.mistral.ai/v1",
        Quirks(
            stream_usage=False,
            renames=(("seed", "random_seed"), *_OLDER_LIMIT),
            hints=_NO_STORE | {"user"},
            refuses=frozenset({"logit_bias"}),
            refuses_said=_THOUGHTS | {"reasoning"},
        ),
    ),
    "openrouter": _chat("https://openrouter.ai/api/v1"),
    "perplexity": _chat("https://api.perplexity.ai", Quirks(renames=_OLDER_LIMIT, hints=_NO_STORE, native=_CHAT_ONLY)),
    "together": _chat("https://api.together.xyz/v1"),
    "xai": _chat("https://api.x.ai/v1", Quirks(NEWER_LIMIT, native=_CHAT_ONLY)),
    "llamacpp": _local(8080),
    "lmstudio": _local(1234),
    "ollama": _local(11434),
    "sglang": _local(30000),
    "vllm": _local(8000),
}
KINDS = (*sorted(HOSTS), SIM)
