"""What each dialect can express of a conversation, as a table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abilities:
    """`media` are the sources of Media.source, `names` those whose file name is told; `origin` is whose signatures of
    thinking it can read. `effort` is how it says how much to think: by a word (`level`) or by a number (`tokens`).
    `effort_max` is the largest such number. `stops_max` None is no limit. `interleaved`: text may stand between tool
    calls.
    """

    origin: str
    media: frozenset[str]
    names: frozenset[str] = frozenset()
    details: bool = False
    media_results: bool = False
    joined_results: bool = False
    failed_results: bool = False
    interleaved: bool = True
    refusals: bool = False
    citations: bool = False
    cache_marks: bool = False
    choices: bool = False
    seed: bool = False
    penalties: bool = False
    top_k: bool = False
    temperature_max: float = 2.0
    stops_max: int | None = None
    any_json: bool = True
    named_schema: bool = False
    strict_tools: bool = False
    sequential: bool = True
    user: bool = True
    effort: str = "level"
    effort_max: int | None = None


CHAT = Abilities(
    origin="openai",
    media=frozenset({"image/url", "image/data", "file/data", "file/id", "audio/data"}),
    names=frozenset({"file/data"}),
    details=True,
    interleaved=False,
    refusals=True,
    choices=True,
    seed=True,
    penalties=True,
    stops_max=4,
    named_schema=True,
    strict_tools=True,
)
RESPONSES = Abilities(
    origin="openai",
    media=frozenset({"image/url", "image/data", "image/id", "file/data", "file/url", "file/id"}),
    names=frozenset({"file/data"}),
    details=True,
    media_results=True,
    refusals=True,
    stops_max=0,
    named_schema=True,
    strict_tools=True,
)
ANTHROPIC = Abilities(
    origin="anthropic",
    media=frozenset({"image/url", "image/data", "image/id", "file/data", "file/url", "file/id"}),
    names=frozenset({"file/data", "file/url", "file/id"}),
    media_results=True,
    failed_results=True,
    cache_marks=True,
    top_k=True,
    temperature_max=1.0,
    any_json=False,
    strict_tools=True,
    effort="tokens",
)
GEMINI = Abilities(
    origin="gemini",
    media=frozenset({"image/url", "image/data", "file/data", "file/url", "audio/data"}),
    joined_results=True,
    failed_results=True,
    choices=True,
    seed=True,
    penalties=True,
    top_k=True,
    stops_max=5,
    sequential=False,
    user=False,
    effort="tokens",
    effort_max=24_576,
)
