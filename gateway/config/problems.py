"""What is wrong in a configuration file, as values that name the line, the place, the value and the remedy."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
Position = tuple[int, int]

_SECRET_PLACES = frozenset({"key", "keys", "otlp_headers", "password", "api_key", "apikey", "secret", "token"})
_SECRET_SHAPE = re.compile(
    r"^(?:sk|pk|rk|xai|pplx|csk)-|^(?:gw|gsk|hf|r8|ghp|xox.)[_-]|^(?:AIza|AKIA|eyJ|Bearer )"
    r"|^[0-9a-fA-F]{32,}$|^(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/_=-]{32,}$"
)
_SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. Lines and columns count from 1; line 0 is the file as a whole."""

    file: str
    line: int
    column: int
    where: str
    message: str
    remedy: str

    def __str__(self) -> str:
        spot = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        place = f" {self.where}:" if self.where else ""
        return f"{spot}:{place} {self.message}"


class ConfigInvalid(Exception):
    """The file cannot be used; carries every problem that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.column, p.where, p.message)))
        super().__init__("\n".join(f"{problem}; {problem.remedy}" for problem in self.problems))


@dataclass(slots=True)
class Findings:
    """Collects problems about one file, finding for each path the nearest place that the file has."""

    file: str
    values: Mapping[Path, Position] = field(default_factory=dict)
    keys: Mapping[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    kept: dict[Path, list[int]] = field(default_factory=dict)

    def problem(self, path: Path, message: str, remedy: str, *, at_key: bool = False) -> None:
        self.problems.append(self._make(path, message, remedy, at_key=at_key))

    def warning(self, path: Path, message: str, remedy: str) -> None:
        self.warnings.append(self._make(path, message, remedy, at_key=False))

    def original(self, path: Path) -> Path:
        """The path as the file has it, when entries of its lists were left out (`kept`: their original numbers)."""
        steps: list[str | int] = []
        for step in path:
            kept = self.kept.get(tuple(steps))
            steps.append(kept[step] if kept is not None and isinstance(step, int) else step)
        return tuple(steps)

    def left_out(self, path: Path, count: int) -> None:
        """Notes that the entry at `path`, of a list that now has `count` others, was left out."""
        number = path[-1]
        if isinstance(number, int):
            del self.kept.setdefault(self.original(path[:-1]), list(range(count + 1)))[number]

    def _make(self, path: Path, message: str, remedy: str, *, at_key: bool) -> Problem:
        path = self.original(path)
        line, column = self._position(path, at_key=at_key)
        return Problem(self.file, line, column, dotted(path), message, remedy)

    def _position(self, path: Path, *, at_key: bool) -> Position:
        if at_key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            found = self.values.get(path[:length])
            if found is not None:
                return found
        return (0, 0)


def dotted(path: Path) -> str:
    """The place as people write it: models.assistant.targets[0].provider."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step.isprintable() and len(step) <= _SHOWN_MAX and not _looks_secret(step) else "***"
            text += f".{name}" if text else name
    return text


def shown(value: object, path: Path = ()) -> str:
    """A value as it may be told: never a secret, never long."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if any(step in _SECRET_PLACES for step in path) or (isinstance(value, str) and _looks_secret(value)):
        return "'***'"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def choose(name: str, known: Iterable[str], kind: str) -> str:
    """The remedy for a name that is not known: the nearest one, else all of them."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {near!r}?"
    if not names:
        return f"there is no {kind} in this file; add one"
    listed = ", ".join(names[:24]) + (", …" if len(names) > 24 else "")
    return f"use one of: {listed}"


def _looks_secret(text: str) -> bool:
    return len(text) >= 12 and _SECRET_SHAPE.match(text) is not None and not text.startswith(("env:", "file:"))
