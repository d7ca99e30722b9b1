"""A research agent: tools, a specialist, an approval, a budget. It runs in one process and, unchanged, on Temporal.

make run                                                      # a gateway with simulated providers, in another terminal
export METERWAY_DEMO_KEY=...                                  # the key that it prints
meterway-agent run examples.research:agent "What is a gateway?"
meterway-agent run examples.research:agent "What is a gateway?" --dev
"""

from pathlib import Path

from agent_runtime.api import Agent
from agent_runtime.domain.limits import Limits
from agent_runtime.spec.guardrails import injection_signs, pii_redaction
from agent_runtime.tools.access import AllowList
from agent_runtime.tools.tool import ToolContext, tool

DOCS = Path(__file__).parents[1] / "docs"
FOUND_MAX = 5


@tool(risk="read", idempotent=True)
def search(words: str) -> list[dict[str, str]]:
    """Search the documentation for lines that hold all of these words."""
    wanted = words.lower().split()
    found = []
    for path in sorted(DOCS.glob("*.md")):
        lines = [line for line in path.read_text().splitlines() if all(word in line.lower() for word in wanted)]
        found += [{"page": path.name, "line": line[:300]} for line in lines]
    return found[:FOUND_MAX]


@tool(risk="read", idempotent=True)
def read_page(page: str) -> str:
    """Read one page of the documentation, such as money.md."""
    path = DOCS / Path(page).name
    return path.read_text() if path.is_file() else f"There is no page {page!r}."


@tool(risk="dangerous")
def publish(title: str, text: str, context: ToolContext) -> str:
    """Publish a report. A person has to agree."""
    folder = Path(".meterway") / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{context.idempotency_key}.md").write_text(f"# {title}\n\n{text}\n")
    return f"Published {title!r}."


reader = Agent(
    "reader",
    instructions="You read documentation. Answer with facts and the page that they are from.",
    description="finds facts in the documentation",
    tools=[search, read_page],
    policy=AllowList("search", "read_page"),
)

agent = Agent(
    "research",
    instructions="You answer questions about this software. Let the reader find facts; publish only when asked to.",
    description="answers questions about this software",
    tools=[search, publish],
    sub_agents=[reader],
    policy=AllowList("search", "subagent_reader"),
    limits=Limits(iterations_max=6, tokens_max=200_000),
    hooks=[pii_redaction(), injection_signs()],
)
