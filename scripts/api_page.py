"""Write docs/api.md from the docstrings of the public names: python scripts/api_page.py [--check]."""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# Python API

`from src import ...`, with the repository's root as the working directory or on `PYTHONPATH`; `from mpvss import ...` after
`pip install .`. A name is imported on first use, so the import loads neither torch nor transformers. Shape letters: B batch,
T frames, Q queries, C channels, K classes, H W image pixels, h w mask grid. Programs that use these names: `examples/`.

This page is generated from the docstrings by `make api`.
"""


def markdown(text: str) -> str:
    """Turn reStructuredText roles and literals into Markdown code."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda found: f"`{found[1].removeprefix('src.')}`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def signature(function: griffe.Function, name: str) -> str:
    """Return the call as Python code, a parameter a line where one line is too long."""
    shown = []
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        variadic = {"variadic positional": "*", "variadic keyword": "**"}.get(parameter.kind.value, "")
        default = "" if parameter.default is None or variadic else f" = {parameter.default}"
        shown.append(f"{variadic}{parameter.name}{f': {parameter.annotation}' if parameter.annotation else ''}{default}")
    result = f" -> {function.returns}" if function.returns and function.name != "__init__" else ""
    line = f"{name}({', '.join(shown)}){result}"
    return line if len(line) <= 110 else f"{name}(\n    " + ",\n    ".join(shown) + f",\n){result}"


def paragraphs(item: griffe.Object) -> Iterator[str]:
    """Yield the docstring's sections as Markdown."""
    for section in item.docstring.parse("google", warnings=False) if item.docstring else []:
        if section.kind is griffe.DocstringSectionKind.text:
            yield markdown(section.value)
        elif section.kind is griffe.DocstringSectionKind.admonition:
            yield f"**{section.title}** {markdown(section.value.description)}"
        else:
            yield f"*{section.kind.value.capitalize()}*"
            named = section.kind.value not in ("returns", "yields")
            rows = []
            for value in section.value:
                name = getattr(value, "name", "") or str(value.annotation or "")
                rows.append(
                    f"- `{name}`: {one_line(value.description)}" if named and name else f"- {one_line(value.description)}"
                )
            yield "\n".join(rows)


def one_line(text: str) -> str:
    return " ".join(markdown(text).split())


def members(item: griffe.Object, public: set[str]) -> list[griffe.Object]:
    """Return the own members, then those inherited from classes without an entry."""
    inherited = [member.final_target for member in item.inherited_members.values()]
    return [*item.members.values(), *(member for member in inherited if member.parent.path not in public)]


def entry(name: str, item: griffe.Object, public: set[str]) -> Iterator[str]:
    """Yield the Markdown of one public name: its signature, its docstring, and its public methods and properties."""
    yield f"## {name}"
    constructor = item.all_members.get("__init__") if item.is_class else item
    constructor = constructor.final_target if constructor is not None and constructor.is_alias else constructor
    if isinstance(constructor, griffe.Function):
        yield f"```python\n{signature(constructor, name)}\n```"
    yield from paragraphs(item)
    for method in members(item, public) if item.is_class else ():
        if method.name.startswith("_") or not isinstance(method, griffe.Function | griffe.Attribute) or not method.docstring:
            continue
        yield f"### {name}.{method.name}"
        if isinstance(method, griffe.Attribute):
            yield f"*{method.annotation}.* " + "\n\n".join(paragraphs(method))
            continue
        yield f"```python\n{signature(method, method.name)}\n```"
        yield from paragraphs(method)


def public_names(package: griffe.Module) -> list[str]:
    """Return the public names in the order of the import table, from models to data."""
    return [ast.literal_eval(str(key)) for key in package["_MODULES"].value.keys]


def page() -> str:
    package = griffe.load("src", search_paths=[str(ROOT)], resolve_aliases=True, allow_inspection=False)
    parts = [HEAD]
    items = {name: package[name].final_target if package[name].is_alias else package[name] for name in public_names(package)}
    public = {item.path for item in items.values()}
    for name, item in items.items():
        parts.extend(entry(name, item, public))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/api.md from the docstrings of the public names.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page differs")
    if parser.parse_args().check:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE.name} differs from the docstrings; run `make api`")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
