"""The hosts that are known by name: which dialect they speak, where they are, which header takes the key."""

from dataclasses import dataclass

from gateway.domain.catalog import AuthStyle


@dataclass(frozen=True, slots=True)
class Host:
    """`dialect` is the wire dialect; `key_needed` is false where servers usually run without one."""

    dialect: str
    base_url: str
    auth: AuthStyle = AuthStyle.BEARER
    key_needed: bool = True


SIM = "sim"


def _openai(base_url: str) -> Host:
    return Host("openai", base_url)


def _local(port: int) -> Host:
    return Host("openai", f"http://127.0.0.1:{port}/v1", key_needed=False)


HOSTS: dict[str, Host] = {
    "openai": _openai("https://api.openai.com/v1"),
    "anthropic": Host("anthropic", "https://api.anthropic.com/v1", AuthStyle.X_API_KEY),
    "cerebras": _openai("https://api.cerebras.ai/v1"),
    "deepseek": _openai("https://api.deepseek.com/v1"),
    "fireworks": _openai("https://api.fireworks.ai/inference/v1"),
    "gemini": _openai("https://generativelanguage.googleapis.com/v1beta/openai"),
    "groq": _openai("https://api.groq.com/openai/v1"),
    "mistral": _openai("https://api.mistral.ai/v1"),
    "openrouter": _openai("https://openrouter.ai/api/v1"),
    "perplexity": _openai("https://api.perplexity.ai"),
    "together": _openai("https://api.together.xyz/v1"),
    "xai": _openai("https://api.x.ai/v1"),
    "llamacpp": _local(8080),
    "lmstudio": _local(1234),
    "ollama": _local(11434),
    "sglang": _local(30000),
    "vllm": _local(8000),
}
KINDS = (*sorted(HOSTS), SIM)
