"""Reads YAML text into plain values with the line of each, refusing whatever YAML would silently change."""

import re
from datetime import date

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.config.problems import Findings, Path, shown

_NODES_MAX = 200_000
_DEPTH_MAX = 32
_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", "~nN", re.compile(r"^(?:~|null|Null|NULL|)$")),
    ("bool", "tTfF", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")),
    ("int", "-+0123456789", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")),
    (
        "float",
        "-+0123456789.",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?|[0-9][0-9_]*\.[0-9]+|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    ),
    ("timestamp", "0123456789", re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {"": [(f"{_TAG}null", re.compile("^$"))]}
    for name, first, pattern in _SCALARS:
        for char in first:
            table.setdefault(char, []).append((_TAG + name, pattern))
    return table


class _Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2: `no` and `12:30` are texts, a date is a date."""

    yaml_implicit_resolvers = _resolvers()


def read(text: str, findings: Findings) -> object:
    """The file's value. What cannot be read goes to `findings`; the rest is still returned."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        _syntax(error, findings)
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        findings.values = {(): (line, 1)}
        findings.problem((), "a character that YAML does not allow", "save the file as plain UTF-8 text")
        return None
    except RecursionError:
        findings.problem((), "the file is nested too deeply", f"use at most {_DEPTH_MAX} levels")
        return None
    if node is None:
        return None
    return _Builder(findings).build(node, ())


def _compose(text: str) -> Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _syntax(error: yaml.MarkedYAMLError, findings: Findings) -> None:
    mark = error.problem_mark or error.context_mark
    if mark is not None:
        findings.values = {(): (mark.line + 1, mark.column + 1)}
    said = error.problem or "cannot be read"
    if "alias" in said or "anchor" in said or "tag" in said:
        said = "an alias, anchor or tag that cannot be resolved"
    findings.problem((), f"not valid YAML: {said}", "check indentation, quotes and brackets at and above this line")


class _Builder:
    """Turns nodes into values, bounded in depth and number, so that aliases cannot multiply without end."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._values: dict[Path, tuple[int, int]] = {}
        self._keys: dict[Path, tuple[int, int]] = {}
        self._nodes = 0
        findings.values, findings.keys = self._values, self._keys

    def build(self, node: Node, path: Path) -> object:
        self._nodes += 1
        self._values[path] = _position(node)
        if len(path) > _DEPTH_MAX or self._nodes > _NODES_MAX:
            if self._nodes <= _NODES_MAX + 1:
                self._findings.problem(path, "too deep, or too many values", "shorten it; check aliases (*name)")
            self._nodes = max(self._nodes, _NODES_MAX + 1)
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag != f"{_TAG}str":
                self._bad_key(key_node, path)
                continue
            name = str(key_node.value)
            place = (*path, name)
            if name in result:
                first = self._keys[place][0]
                self._keys[place] = _position(key_node)
                message = f"the key {shown(name)} stands here a second time; the first is in line {first}"
                self._findings.problem(place, message, "keep one of the two", at_key=True)
                continue
            self._keys[place] = _position(key_node)
            result[name] = self.build(value_node, place)
        return result

    def _bad_key(self, node: Node, path: Path) -> None:
        place = (*path, "?")
        self._values[place] = _position(node)
        value = shown(node.value) if isinstance(node, ScalarNode) else "a list or mapping"
        self._findings.problem(place, f"a key must be a text, this is {value}", "put it in quotes")

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        text, kind = str(node.value), node.tag.removeprefix(_TAG)
        try:
            match kind:
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text.replace("_", ""))
                case "float":
                    return float(text.replace("_", ""))
                case "timestamp":
                    return date.fromisoformat(text)
        except ValueError:
            remedy = "write a value of that kind (a date is 2026-01-31), or put it in quotes if it is a text"
            self._findings.problem(path, f"{shown(text, path)} is not a valid {kind}", remedy)
            return None
        self._findings.problem(path, "YAML tags (!…) are not allowed", "write the plain value")
        return text


def _position(node: Node) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
