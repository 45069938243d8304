"""Parameters of functions and classes, read from their source, so that a check of a config waits for no import."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from src.files.own_package import NAME
from src.options.fields import PathText, Text

Parameters = dict[str, Any]
"""Types of the parameters by name; ``Any`` where the source names a class."""

_ROOT = Path(__file__).resolve().parents[2]
_SIMPLE: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": Text, "None": type(None), "Path": PathText}
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "set", "frozenset"}


@cache
def parameters(target: str) -> Parameters | None:
    """Return the parameters of the callable that ``target`` names, such as ``src.models.flow.DISFlow``.

    ``None`` if they cannot be read: no Python source, or further keywords (``**kwargs``).
    """
    found = _find(target)
    if found is None:
        return None
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _of_function(module, node)
    return _of_class(module, node) if isinstance(node, ast.ClassDef) else None


def is_callable_name(target: str) -> bool:
    """Return whether a dotted name is in the source of this project, or in an installed package, which may be compiled."""
    top, dot, _ = target.partition(".")
    return bool(dot) and (_find(target) is not None or (top != NAME and top.isidentifier() and find_spec(top) is not None))


def _find(target: str) -> tuple[str, ast.AST] | None:
    """Return the module and the syntax tree of a dotted name, through imports from module to module."""
    parts = target.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:count])
        if _source(module) is not None:
            return _member(module, parts[count:])
    return None


def _member(module: str, names: list[str]) -> tuple[str, ast.AST] | None:
    source = _source(module)
    for node in _statements(source) if source is not None else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == names[0]:
                    return _find(".".join([_imported(module, node), alias.name, *names[1:]]))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == names[0] for one in targets):
                return module, node.value
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == names[0]:
            inner = (one for one in ast.iter_child_nodes(node) if isinstance(one, ast.FunctionDef) and one.name == names[-1])
            found = node if len(names) == 1 else next(inner, None)
            return None if found is None else (module, found)
    return None


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, also those under ``if TYPE_CHECKING``."""
    for node in tree.body:
        yield from node.body if isinstance(node, ast.If) else [node]


def _imported(module: str, node: ast.ImportFrom) -> str:
    file = _file(module)
    package = module.split(".")[: len(module.split(".")) - node.level + (file is not None and file.name == "__init__.py")]
    return ".".join([*package, node.module or ""]).strip(".") if node.level else node.module or ""


@cache
def _source(module: str) -> ast.Module | None:
    file = _file(module)
    return None if file is None else ast.parse(file.read_text(encoding="utf-8"))


def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    if (_ROOT / top / "__init__.py").is_file() or (_ROOT / top).is_dir():
        folders = [str(_ROOT / top)]
    else:
        # The top package is found without importing it; anything below it would import the packages above.
        found = find_spec(top) if top.isidentifier() else None
        folders = list(found.submodule_search_locations or ()) if found is not None else []
    for folder in folders:
        path = Path(folder, *rest)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file() and (rest or file.name == "__init__.py"):
                return file
    return None


def _of_function(module: str, node: ast.FunctionDef, skip: int = 0) -> Parameters | None:
    decorators = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
    if node.args.kwarg is not None:
        return None
    given = [*node.args.posonlyargs, *node.args.args][skip or "classmethod" in decorators :]
    return {one.arg: _type(module, one.annotation) for one in [*given, *node.args.kwonlyargs]}


def _of_class(module: str, node: ast.ClassDef) -> Parameters | None:
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return _of_function(module, one, skip=1)
    fields: Parameters = {}
    for base in node.bases:
        inherited = parameters(".".join([module, ast.unparse(base)]))
        if inherited is None and "Protocol" not in ast.unparse(base):
            return None
        fields |= inherited or {}
    if any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        own = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
        fields |= {ast.unparse(one.target): _type(module, one.annotation) for one in own}
    return fields


def _type(module: str, node: ast.AST | None) -> Any:
    """Return the type of an annotation as far as it consists of numbers, texts, choices and lists of them; else ``Any``."""
    if isinstance(node, ast.Constant):
        return None if node.value is None else _type(module, ast.parse(str(node.value), mode="eval").body)
    if isinstance(node, ast.BinOp):
        return _union([_type(module, node.left), _type(module, node.right)])
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node)
        if name in _SIMPLE:
            return _SIMPLE[name]
        found = _find(f"{module}.{name}")
        return Any if found is None or isinstance(found[1], ast.ClassDef | ast.FunctionDef) else _type(*found)
    if not isinstance(node, ast.Subscript):
        return Any
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    name = ast.unparse(node.value).rpartition(".")[2]
    if name == "Literal":
        return Literal[tuple(ast.literal_eval(one) for one in inner)]
    kinds = [_type(module, one) for one in inner if not (isinstance(one, ast.Constant) and one.value is ...)]
    if name in ("Union", "Optional"):
        return _union([*kinds, *([None] if name == "Optional" else [])])
    if name in ("tuple", "Tuple") and len(kinds) == len(inner):
        items = GenericAlias(list, (kinds[0] if all(one == kinds[0] for one in kinds) else Any,))
        return Annotated[items, Field(min_length=len(kinds), max_length=len(kinds))]
    if name in _LISTS | {"tuple", "Tuple"}:
        return GenericAlias(list, (kinds[0],))
    return dict[str, Any] if name in ("dict", "Mapping") else Any


def _union(kinds: list[Any]) -> Any:
    """Return the union without ``Any``, which stands for classes, unless nothing else remains."""
    known = [kind for kind in kinds if kind is not Any]
    return Union[tuple(known)] if any(kind not in (None, type(None)) for kind in known) else Any  # noqa: UP007
