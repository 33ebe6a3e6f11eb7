"""The messages of the errors that jaxdl raises, from its source; `python docs/messages.py` prints them."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "jaxdl"
ERRORS = ("InputError", "RunError", "Interrupted", "ValueError", "TypeError", "ImportError", "AssertionError")
Named = dict[str, ast.expr]


def text(node: ast.expr, named: Named) -> str | None:
    """Return a message as it is written, with what it fills in between braces; None if it is no text."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(text(value, named) or "" for value in values)
        case ast.FormattedValue(value=ast.Name(id=name)) if name in named:
            return text(ast.Name(name), named)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return (text(left, named) or "") + (text(right, named) or "")
        case ast.Name(id=name) if name in named:
            return text(named[name], {other: named[other] for other in named if other != name})
    return None


def raised(function: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (error, message) of each raise inside of a function; names of texts are replaced by the texts."""
    named: Named = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str()) | ast.JoinedStr()):
                named[name] = node.value
    for node in ast.walk(function):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=error), args=[message, *_])) if error in ERRORS:
                if found := text(message, named):
                    yield error, found


def messages() -> dict[str, list[tuple[str, str]]]:
    """Return {module: [(error, message)]}."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        own = {
            each: None
            for node in ast.parse(path.read_text("utf-8")).body
            for each in raised(node)  # a nested function is read with the one around it
        }
        if own:
            found[module] = list(own)
    return found


def page() -> str:
    """Write them as Markdown."""
    lines = []
    for module, own in messages().items():
        lines += ["", f"### {module}", "", "| error | message |", "|---|---|"]
        for error, message in own:
            shown = " ".join(message.split()).replace("|", "\\|").replace("`", "'")
            lines.append(f"| {error} | `{shown}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page())
