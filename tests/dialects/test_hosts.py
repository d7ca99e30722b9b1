"""The hosts that speak OpenAI's dialect, each as it likes to be spoken to."""

from typing import Any

import pytest

from gateway.config.hosts import HOSTS, NEWER_LIMIT
from gateway.sim.corpus import CORPUS
from tests.dialects.house import ask, body_of, sent, speaking

CHAT_HOSTS = sorted(name for name, host in HOSTS.items() if host.dialect == "chat")
ALL: dict[str, Any] = {
    "store": False,
    "metadata": {"a": "b"},
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "verbosity": "low",
    "user": "u",
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "seed": 3,
    "temperature": 0.5,
    "mystery": 1,
}
NO_STORE = {"store", "metadata", "prompt_cache_key", "safety_identifier", "verbosity"}
REFUSED: dict[str, set[str]] = {
    "cerebras": NO_STORE | {"frequency_penalty", "presence_penalty"},
    "deepseek": NO_STORE,
    "groq": {"logprobs", "top_logprobs", "logit_bias"},
    "mistral": NO_STORE | {"user", "logit_bias"},
    "perplexity": NO_STORE,
}
OLDER_ALONE = {"deepseek", "mistral", "perplexity"}
NEWER = {"cerebras", "groq", "xai"}
UNSAID = {
    "cerebras": {"reasoning_content", "reasoning_details"},
    "groq": {"reasoning", "reasoning_content", "reasoning_details"},
    "mistral": {"reasoning", "reasoning_content", "reasoning_details"},
}
WITHOUT_EMBEDDINGS = {"cerebras", "deepseek", "groq", "perplexity", "xai"}


@pytest.mark.parametrize("kind", CHAT_HOSTS)
async def test_a_host_is_sent_what_it_takes_and_the_rest_is_named(kind: str) -> None:
    async with speaking("chat", providers={"chat": {"kind": kind}}, route={"untranslatable": "drop"}) as house:
        for stream in (False, True):
            seen = await ask(house, "chat", body_of("chat", stream=stream, **ALL))
            assert seen.status == 200, seen
            refused = REFUSED.get(kind, set())
            told = seen.headers.get("x-gateway-dropped", "")
            assert set(filter(None, told.split(", "))) == set(house.record.dropped) == refused
            got = sent(house, "chat")
            expected: dict[str, Any] = {name: value for name, value in ALL.items() if name not in refused}
            if kind == "mistral":
                expected["random_seed"] = expected.pop("seed")
            assert {name: got[name] for name in got if name in ALL or name == "random_seed"} == expected
            assert ("stream_options" in got) == (stream and kind != "mistral")


HINTS = NO_STORE | {"user"}
NOTHING: dict[str, Any] = {"logit_bias": {}, "logprobs": False, "frequency_penalty": 0, "presence_penalty": 0.0}


@pytest.mark.parametrize("kind", sorted(REFUSED))
async def test_what_a_host_refuses_is_refused_before_a_call_where_the_route_may_not_lose_it(kind: str) -> None:
    async with speaking("chat", providers={"chat": {"kind": kind}}) as house:
        fields = sorted(REFUSED[kind] - HINTS)
        for field in fields:
            seen = await ask(house, "chat", body_of("chat", **{field: ALL[field]}))
            assert (seen.status, seen.error["param"], house.calls("chat")) == (400, field, 0)
        seen = await ask(house, "chat", body_of("chat", **{name: ALL[name] for name in HINTS}, **NOTHING))
        assert seen.status == 200
        assert set(house.record.dropped) == REFUSED[kind] & {*HINTS, *NOTHING}
    async with speaking("chat", "openai", providers={"chat": {"kind": kind}}) as house:
        for field in fields:
            seen = await ask(house, "chat", body_of("chat", **{field: ALL[field]}))
            assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt")


@pytest.mark.parametrize("kind", CHAT_HOSTS)
async def test_a_limit_on_the_output_is_said_in_the_hosts_own_word(kind: str) -> None:
    async with speaking("chat", providers={"chat": {"kind": kind}}) as house:
        for named in ("max_tokens", NEWER_LIMIT):
            assert (await ask(house, "chat", {**body_of("chat"), named: 77})).status == 200
            asked = "max_tokens" if kind in OLDER_ALONE else named
            assert {name: v for name, v in sent(house, "chat").items() if name.startswith("max_")} == {asked: 77}
        assert (await ask(house, "responses", body_of("responses", max_output_tokens=77))).status == 200
        own = NEWER_LIMIT if kind in NEWER else "max_tokens"
        assert {name: v for name, v in sent(house, "chat").items() if name.startswith("max_")} == {own: 77}


@pytest.mark.parametrize("kind", CHAT_HOSTS)
async def test_what_was_thought_goes_back_only_to_hosts_that_take_it(kind: str) -> None:
    thought = {"reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text"}]}
    answer = {"role": "assistant", "content": "Yes.", **thought}
    talk = [{"role": "user", "content": '"reasoning_content"'}, answer, {"role": "user", "content": "Why?"}]
    async with speaking("chat", providers={"chat": {"kind": kind}}) as house:
        seen = await ask(house, "chat", body_of("chat", messages=talk))
        unsaid = UNSAID.get(kind, set())
        assert (seen.status, set(house.record.dropped)) == (200, {f"messages.{name}" for name in unsaid})
        left = {name: value for name, value in answer.items() if name not in unsaid}
        assert sent(house, "chat")["messages"] == [talk[0], left, talk[2]]
        blocks = [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Yes."}]
        talk[1] = {"role": "assistant", "content": blocks}
        seen = await ask(house, "messages", body_of("messages", messages=talk))
        assert seen.status == 200, seen
        assert not set(sent(house, "chat")["messages"][1]) & unsaid


@pytest.mark.parametrize("kind", CHAT_HOSTS)
async def test_embeddings_go_where_the_host_has_them(kind: str) -> None:
    async with speaking("chat", providers={"chat": {"kind": kind}}) as house:
        seen = await ask(house, "chat", {"model": "m", "input": "hi"}, path="/v1/embeddings")
        assert (seen.status == 200) == (kind not in WITHOUT_EMBEDDINGS), seen
        assert house.calls("chat") == (kind not in WITHOUT_EMBEDDINGS)


@pytest.mark.parametrize("name", sorted(name for name in CORPUS if "/context" in name or name.endswith("/window")))
async def test_a_context_error_of_any_host_goes_to_a_larger_context(name: str) -> None:
    kind = name.partition("/")[0]
    first = kind if kind in ("openai", "anthropic", "gemini") else "chat"
    fault = {"kind": "status", "like": name}
    script = {first: {"otherwise": {"fault": fault}}}
    async with speaking(first, "openai_b", providers={first: {"kind": kind}}, **script) as house:
        rows = house.document["models"]["m"]["targets"]
        rows[0]["context_tokens"], rows[1]["context_tokens"] = 8_000, 1_000_000
        house.reload()
        for caller in ("chat", "messages"):
            seen = await ask(house, caller, body_of(caller, stream=True))
            assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai_b/gpt"), seen
            assert house.failures == ["context_length", None]


@pytest.mark.parametrize("name", ["azure/filter", "anthropic/filter"])
@pytest.mark.parametrize("policy", ["refuse", "next"])
async def test_a_filter_of_any_provider_is_the_routes_to_decide(policy: str, name: str) -> None:
    first = "anthropic" if name.startswith("anthropic") else "openai"
    fault = {"kind": "status", "like": name}
    route = {"content_filter": policy}
    async with speaking(first, "gemini", route=route, **{first: {"otherwise": {"fault": fault}}}) as house:
        for caller in ("chat", "messages", "responses"):
            seen = await ask(house, caller, body_of(caller))
            if policy == "next":
                assert (seen.status, seen.headers["x-gateway-target"]) == (200, "gemini/gpt")
            else:
                assert (seen.status, seen.error["code"]) == (400, "content_filter")
        assert house.calls("gemini") == (3 if policy == "next" else 0)


BLOCKED = (
    '{"promptFeedback":{"blockReason":"SAFETY"},"modelVersion":"m","responseId":"r",'
    '"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}}'
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", ["refuse", "next"])
async def test_a_prompt_that_gemini_blocks_in_a_200_is_filtered_and_charged(policy: str, stream: bool) -> None:
    told = {"body": f"data: {BLOCKED}\n\n", "headers": {"content-type": "text/event-stream"}}
    fault = {"kind": "status", "status": 200} | (told if stream else {"body": BLOCKED})
    route = {"content_filter": policy}
    async with speaking("gemini", "openai", route=route, gemini={"otherwise": {"fault": fault}}) as house:
        for caller in ("chat", "messages", "responses"):
            seen = await ask(house, caller, body_of(caller, stream=stream))
            if policy == "next":
                assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt")
            else:
                assert (seen.status, seen.error["code"], house.calls("openai")) == (400, "content_filter", 0)
                assert "blocked the prompt (SAFETY)" in seen.error["message"]
            assert house.failures[0] == "content_filter" or policy == "next"
            used = house.record.usage
            assert house.record.cost_nano_usd == 1_000 * (9 + used.input) + 2_000 * used.output
            assert used.total == 0 or policy == "next"


@pytest.mark.parametrize("version", [None, "2025-04-01-preview"])
async def test_azure_is_called_by_deployment_and_version(version: str | None) -> None:
    told: dict[str, Any] = {"kind": "azure"} | ({} if version is None else {"api_version": version})
    async with speaking("openai", providers={"openai": told}) as house:
        house.document["providers"]["openai"]["base_url"] = house.sims["openai"].base
        house.document["models"]["m"]["targets"][0]["model"] = "gpt/4o#1"
        house.reload()
        asked = {"/chat/completions": body_of("chat", stream=True), "/embeddings": {"model": "m", "input": "hi"}}
        for path, body in asked.items():
            assert (await ask(house, "chat", body, path=f"/v1{path}")).status == 200
            got = house.sims["openai"].requests[-1]
            assert got.path == f"/openai/deployments/gpt%2F4o%231{path}"
            assert got.query == f"api-version={version or '2024-10-21'}"
            assert got.header("api-key").startswith("sk-canary")
            assert not got.header("authorization")
        seen = await ask(house, "messages", body_of("messages", max_tokens=77))
        assert (seen.status, sent(house, "openai")[NEWER_LIMIT]) == (200, 77)
        seen = await ask(house, "responses", body_of("responses"))
        assert (seen.status, house.sims["openai"].requests[-1].path.rpartition("/")[2]) == (200, "completions")


async def test_azures_newer_path_is_openais_own() -> None:
    async with speaking("openai", providers={"openai": {"kind": "azure"}}) as house:
        house.document["providers"]["openai"]["base_url"] = f"{house.sims['openai'].base}/openai/v1"
        house.reload()
        for caller, path in {"chat": "/chat/completions", "responses": "/responses"}.items():
            seen = await ask(house, caller, body_of(caller))
            got = house.sims["openai"].requests[-1]
            assert (seen.status, got.path, got.query) == (200, f"/openai/v1{path}", "")
            assert got.header("api-key").startswith("sk-canary")
