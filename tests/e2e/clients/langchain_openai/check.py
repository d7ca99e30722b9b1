"""LangChain's `langchain-openai`, pointed at the gateway."""

from typing import Any

import openai  # type: ignore[import-not-found,unused-ignore]  # lives in the client's own environment
from langchain_core.messages import HumanMessage, ToolMessage  # type: ignore[import-not-found,unused-ignore]
from langchain_core.tools import tool  # type: ignore[import-not-found,unused-ignore]
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # type: ignore[import-not-found,unused-ignore]
from pydantic import BaseModel

from tests.e2e.clients.lab import GATEWAY, KEY, SAID, Since, eventually, gateway_lines, provider_requests, tell


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@tool  # type: ignore[untyped-decorator,unused-ignore]  # untyped where the package is not installed
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def model(name: str = "assistant", **options: Any) -> Any:
    return ChatOpenAI(model=name, base_url=GATEWAY, api_key=KEY, timeout=10, **options)


def check_invoke() -> None:
    answer = model().invoke("Hello!")
    assert answer.content == SAID
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["total_tokens"] > 0


def check_stream_is_metered_though_usage_is_not_asked_for() -> None:
    before = len(gateway_lines("seen"))
    chunks = list(model("seen", stream_usage=False).stream("Hello!"))
    assert "".join(chunk.content for chunk in chunks) == SAID
    assert all(chunk.usage_metadata is None for chunk in chunks)
    line = eventually(lambda: gateway_lines("seen")[before:])[0]
    assert (line["provenance"], line["output_tokens"] > 0) == ("exact", True), line


def check_stream_with_usage() -> None:
    chunks = list(model(stream_usage=True).stream("Hello!"))
    assert "".join(chunk.content for chunk in chunks) == SAID
    assert [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata][-1]["total_tokens"] > 0


async def check_astream_and_ainvoke() -> None:
    said = [chunk.content async for chunk in model().astream("Hello!")]
    assert "".join(said) == SAID
    assert (await model().ainvoke("Hello!")).content == SAID


def check_bound_tools_go_round() -> None:
    bound = model("two-tools").bind_tools([weather])
    asked: list[Any] = [HumanMessage("Weather in Paris and Rome?")]
    first = bound.invoke(asked)
    assert [call["args"] for call in first.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    last = bound.invoke([*asked, first, *results])
    assert (last.tool_calls, bool(last.content)) == ([], True)
    assert provider_requests("two-tools")[-1]["messages"][-1]["content"] == "sunny in Rome"


def check_streamed_tool_calls_add_up() -> None:
    whole: Any = None
    for chunk in model("two-tools").bind_tools([weather]).stream("Weather?"):
        whole = chunk if whole is None else whole + chunk
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]


def check_structured_output() -> None:
    answer = model().with_structured_output(City, method="json_schema").invoke("Hello!")
    assert isinstance(answer, City)


def check_embeddings() -> None:
    embeddings = OpenAIEmbeddings(model="embedder", base_url=GATEWAY, api_key=KEY, check_embedding_ctx_length=False)
    documents = embeddings.embed_documents(["one", "two"])
    assert [len(vector) for vector in documents] == [1536, 1536]
    assert len(embeddings.embed_query("one")) == 1536


async def check_async_embeddings() -> None:
    embeddings = OpenAIEmbeddings(model="embedder", base_url=GATEWAY, api_key=KEY, check_embedding_ctx_length=False)
    assert len(await embeddings.aembed_query("one")) == 1536


def check_retries_are_not_multiplied() -> None:
    since = Since("broken")
    raised: Any = None
    try:
        model("broken", max_retries=4).invoke("Hello!")
    except openai.InternalServerError as error:
        raised = error
    assert raised is not None, "a broken provider answered"
    assert raised.response.headers["x-should-retry"] == "false"
    assert since.counts()[0] == 1


if __name__ == "__main__":
    tell(dict(globals()))
