"""Write the sources for a compiler: `native.py FOLDER` spells out below it what an interpreter finds out by itself.

- What `@value` makes, a struct in C, is the fastest value of an interpreted program, but compiled code asks it for each
  field by name. A class whose constructor is written out becomes a struct of the compiler's own, read at its places.
- A name in capitals is looked up in its module's dictionary at each use; one that is `Final` is a variable in C.
- A member of an enum is looked up by a hook of its class, at the cost of three attributes. Functions name a constant.
"""

import ast
import re
import sys
from pathlib import Path

ENUMS = {"Symbol", "Enum", "StrEnum"}
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")
IMPORTS = "from dataclasses import dataclass\nfrom typing import Final\n"


Members = set[tuple[str, str]]
"""Of enums: class and name."""


def native(text: str, members: Members) -> str:
    """`text` with the same meaning. Line numbers move."""
    text = _named(text, members)
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef) and [ast.unparse(item) for item in node.decorator_list] == ["value"]:
            _spell_out(node, lines)
        elif (constant := _constant(node)) is not None:
            lines[node.lineno - 1 : node.end_lineno] = [constant]
    first = next(node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
    lines.insert(first.lineno - 1, IMPORTS)
    return "".join(lines)


def members_of(text: str) -> Members:
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    enums = [node for node in classes if any(ast.unparse(base) in ENUMS for base in node.bases)]
    return {
        (node.name, target.id)
        for node in enums
        for item in node.body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }


def _named(text: str, members: Members) -> str:
    """With a constant behind the imports for each member of an imported enum that a function asks for."""
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    known = {name.asname or name.name for node in imports for name in node.names}
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = [node for function in functions for item in function.body for node in ast.walk(item)]
    patterns = {id(node.value) for node in inside if isinstance(node, ast.MatchValue)}
    lines = text.encode().splitlines(keepends=True)
    constants: dict[str, str] = {}
    places: set[tuple[int, int, int, str]] = set()
    for node in inside:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in patterns:
            owner, name, start, end = node.value.id, node.attr, node.col_offset, node.end_col_offset or 0
            member = f"{owner}.{name}"
            found = lines[node.lineno - 1][start:end] == member.encode()  # within an f-string, places are not told
            if found and owner in known and (owner, name) in members:
                constant = f"_{owner.upper()}_{name}"
                constants[constant] = member
                places.add((node.lineno, start, end, constant))
    for line, start, end, constant in sorted(places, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + constant.encode() + lines[line - 1][end:]
    if constants:
        told = "".join(f"{constant} = {member}\n" for constant, member in sorted(constants.items()))
        lines.insert(imports[-1].end_lineno or 0, told.encode())
    return b"".join(lines).decode()


def _spell_out(node: ast.ClassDef, lines: list[str]) -> None:
    annotated = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    fields = [item for item in annotated if not ast.unparse(item.annotation).startswith("ClassVar")]
    if fields:
        given = ", ".join(ast.unparse(field) for field in fields)
        names = [ast.unparse(field.target) for field in fields]
        body = "".join(f"        self.{name} = {name}\n" for name in names)
        hashed = "".join(f"self.{name}, " for name in names)
        written = f"""
    def __init__(self, {given}) -> None:
{body}
    def __hash__(self) -> int:
        return hash(({hashed}))
"""
        lines.insert(fields[-1].end_lineno or 0, written)
    lines[node.decorator_list[0].lineno - 1] = f"@dataclass(init=False, unsafe_hash={not fields})\n"


def _constant(node: ast.stmt) -> str | None:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            # The compiler's own pair, triple ... of floats counts as never set.
            kind = "Final[tuple[float, ...]]" if _floats(value) else "Final"
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            said = ast.unparse(annotation)
            kind = said if said.startswith("Final") else f"Final[{said}]"
        case _:
            return None
    return f"{name}: {kind} = {ast.unparse(value)}\n" if CONSTANT.fullmatch(name) else None


def _floats(node: ast.expr) -> bool:
    """Whether it is a tuple of floats alone."""
    try:
        told = ast.literal_eval(node)
    except ValueError:
        return False
    return isinstance(told, tuple) and told != () and all(isinstance(item, float) for item in told)


if __name__ == "__main__":
    texts = {path: path.read_text() for path in sorted(Path(sys.argv[1]).rglob("*.py")) if path.name != "__init__.py"}
    members = {member for text in texts.values() for member in members_of(text)}
    for path, text in texts.items():
        if "import " in text:
            path.write_text(native(text, members))
