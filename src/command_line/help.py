"""Text of ``--help``: every option with its type, range and default, and the comment that describes it in ``conf/``."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from src.command_line.composition import CONF
from src.options.check import describe, kinds_of, targets
from src.options.models import MODELS
from src.options.signatures import parameters

_COMMENT = re.compile(r"\s#\s+(.*)$")


def print_help(name: str, overrides: Sequence[str]) -> None:
    """Print usage, config groups with their choices, and all options of the composed configuration."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        files = loader.compute_defaults_list(name, list(overrides), RunMode.RUN).defaults
        cfg = compose(name, list(overrides), return_hydra_config=True)
        chosen = {key: choice for key, choice in cfg.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        choices = {key: loader.get_group_options(key) for key in chosen if "@" not in key and key != "recipe"}
    comments: dict[str, str] = {}
    for file in files:
        if file.config_path is not None and (CONF / f"{file.config_path}.yaml").is_file():
            text = (CONF / f"{file.config_path}.yaml").read_text(encoding="utf-8")
            package = file.package or ""
            comments |= {f"{package}.{key}".strip("."): comment for key, comment in described(text).items()}
    with_hydra: Any = OmegaConf.to_container(cfg)
    raw = {key: value for key, value in with_hydra.items() if key != "hydra"}
    del cfg.hydra
    kinds = dict(kinds_of(MODELS[name], raw))
    for prefix, node in targets(raw):
        for key, kind in (parameters(node["_target_"]) or {}).items():
            kinds.setdefault(f"{prefix}.{key}", kind)
    width = shutil.get_terminal_size((120, 24)).columns
    console = Console(width=min(max(width, 100), 160), highlight=False, markup=False)
    header = takewhile(lambda line: line.startswith("#"), (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines())
    console.print("\n".join(line.removeprefix("#").removeprefix(" ") for line in header), soft_wrap=True)
    _print_rows(console, "groups of options", ((f"{key}=", chosen[key] or "null", " | ".join(choices[key])) for key in choices))
    rows = []
    for key, value in _leaves(raw):
        unknown = value is None or (isinstance(value, str) and "${" in value)
        kind = describe(kinds[key]) if key in kinds else "any" if unknown else describe(type(value))
        rows.append((key, kind, _default(value), _comment(key, comments)))
    _print_rows(console, "options", (row for row in rows if "." not in row[0]))
    for group in dict.fromkeys(row[0].partition(".")[0] for row in rows if "." in row[0]):
        _print_rows(console, f"options of {group}", (row for row in rows if row[0].startswith(f"{group}.")))
    console.print(
        "\n-m runs several jobs (training); --cfg job prints the configuration; HYDRA_FULL_ERROR=1 in the environment shows the "
        "stack of an error.",
        soft_wrap=True,
    )


def _print_rows(console: Console, title: str, rows: Iterable[tuple[str, ...]]) -> None:
    """Print a title and aligned rows: name, type and range, default, comment (of groups: name, choice, choices)."""
    table = Table.grid(padding=(0, 2))
    rows = list(rows)
    table.add_column(no_wrap=True)
    for width in (26, 22)[: len(rows[0]) - 2] if rows else ():
        table.add_column(max_width=width, overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    with console.capture() as printed:
        console.print(table)
    text = "\n".join(line.rstrip() for line in printed.get().splitlines())
    console.print(f"\n{title}\n\n{text}" if rows else "", end="\n" if rows else "", soft_wrap=True)


def described(text: str) -> dict[str, str]:
    """Return the comments of a YAML file by dotted key: at the end of the key's line, else in the lines above it."""
    lines = text.splitlines()
    return dict(_described(yaml.compose(text), lines, ""))


def _described(node: Any, lines: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        block = isinstance(value, yaml.CollectionNode) and not value.flow_style
        line, column = (key.end_mark.line, key.end_mark.column) if block else (value.end_mark.line, value.end_mark.column)
        found = _COMMENT.search(lines[line][column:] if line < len(lines) else "")
        above, first = list[str](), key.start_mark.line
        while first > 0 and lines[first - 1].lstrip().startswith("# "):
            first -= 1
            above.insert(0, lines[first].strip().removeprefix("# "))
        # The lines at the top of a file describe the file.
        comment = found[1] if found else " ".join(above) if first > 0 else ""
        if comment:
            yield f"{prefix}{key.value}", comment
        yield from _described(value, lines, f"{prefix}{key.value}.")


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif not str(key).startswith("_"):
            yield f"{prefix}{key}", value


def _comment(key: str, comments: dict[str, str]) -> str:
    """Return the comment of an option, else that of the mapping that contains it."""
    while key and key not in comments:
        key = key.rpartition(".")[0]
    return comments.get(key, "")


def _default(value: Any) -> str:
    if value == "???":
        return "required"
    if isinstance(value, list):
        return f"[{', '.join(_default(one) for one in value)}]"
    if isinstance(value, dict):
        return str(value.get("_target_", value)).rpartition(".")[2] if "_target_" in value else str(value)
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
