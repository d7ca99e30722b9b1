"""Write the sources for a compiler: `native.py FOLDER` spells out below it what an interpreter finds out by itself.

- What `@value` makes, a struct in C, is the fastest value of an interpreted program, but compiled code asks it for each
  field by name. A class whose constructor is written out becomes a struct of the compiler's own, read at its places.
- A name in capitals is looked up in its module's dictionary at each use; one that is `Final` is a variable in C.
"""

import ast
import re
import sys
from pathlib import Path

CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")
IMPORTS = "from dataclasses import dataclass\nfrom typing import Final\n"


def native(text: str) -> str:
    """`text` with the same meaning. Line numbers move."""
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
            kind = "Final"
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            said = ast.unparse(annotation)
            kind = said if said.startswith("Final") else f"Final[{said}]"
        case _:
            return None
    return f"{name}: {kind} = {ast.unparse(value)}\n" if CONSTANT.fullmatch(name) else None


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).rglob("*.py")):
        if path.name != "__init__.py" and "import " in (text := path.read_text()):
            path.write_text(native(text))
