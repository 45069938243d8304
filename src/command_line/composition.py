"""Configurations composed from ``conf/``: known keys, checked options, and Hydra's errors in one line."""

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.files.own_package import own_target, package_path
from src.options.check import Problem, check, did_you_mean, targets
from src.options.models import MODELS

CONF = package_path("conf")
"""Folder of all configurations."""

_INTERPOLATION = re.compile(r"(?<!\\)\$\{")


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration ``conf/<name>.yaml``, inside a running command or before it."""
    _check_groups(overrides)
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, list(overrides))
    adopt_targets(cfg)
    return cfg


def adopt_targets(cfg: DictConfig) -> None:
    """Give every ``_target_`` of this package the package's name here; see :func:`src.files.own_package.own_target`."""
    for key, node in targets(OmegaConf.to_container(cfg)):
        if isinstance(node["_target_"], str) and own_target(node["_target_"]) != node["_target_"]:
            OmegaConf.update(cfg, f"{key}._target_", own_target(node["_target_"]))


def _check_groups(overrides: Sequence[str]) -> None:
    """Refuse numbers, mappings and null where a config group is chosen: some would have no effect, others break Hydra."""
    for one in OverridesParser.create().parse_overrides(list(overrides)):
        if one.is_delete() or one.is_sweep_override() or not (CONF / one.key_or_group).is_dir():
            continue
        value: Any = one.value()
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str | QuotedString) for name in names):
            choices = " | ".join(sorted(path.stem for path in (CONF / one.key_or_group).glob("*.yaml")))
            raise ValueError(f"{one.input_line}: no such choice; expected {one.key_or_group}=<{choices}>")


def check_options(name: str, cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse missing, misspelt and invalid options of ``conf/<name>.yaml``, before anything is imported or read.

    Args:
        name: entry point.
        cfg: its composed configuration.
        overrides: command line; an added key (``+key=value``) must belong to a ``_target_``, or be one.

    Raises:
        ValueError: one line with every refused option, what is expected, and the most similar name.
    """
    model = MODELS[name]
    raw: Any = OmegaConf.to_container(cfg)
    # A group without a choice is no key at all, and others refer to it.
    missing = sorted(key for key, field in model.model_fields.items() if field.is_required() and key not in raw)
    if not missing:
        needed, absent = model.needed(raw), OmegaConf.missing_keys(cfg)
        missing = sorted(absent if needed is None else {key for key in needed if key in absent or raw.get(key) is None})
    if missing:
        raise ValueError(f"{', '.join(missing)}: not given; expected {' '.join(f'{key}=<value>' for key in missing)}")
    values = _without_missing(OmegaConf.to_container(cfg, resolve=True))
    problems = [*_added(name, values, overrides), *(one for one in check(model, values) if not _interpolated(raw, one.key))]
    _refuse(problems)


def check_sweep(name: str, overrides: Sequence[str]) -> None:
    """Check the options of the first job of a multirun, so that a misspelt key ends the command before any job."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    first = [
        f"{one.input_line.partition('=')[0]}={next(one.sweep_string_iterator())}" if one.is_sweep_override() else one.input_line
        for one in parsed
        if one.input_line is not None
    ]
    _refuse([*_added(name, OmegaConf.to_container(composed(name, first)), first)])


def explain(name: str, error: Exception, overrides: Sequence[str]) -> str:
    """Return Hydra's error as one line, with the most similar option or choice."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        found = re.search(r"override '(.*)'", text)
        return f"{error.override or (found[1] if found else text)} cannot be read; expected <option>=<value>"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = list(error.options or ())
        return f"{group}={choice}: no such choice; expected {' | '.join(options)}{did_you_mean(choice, options)}"
    if isinstance(error, OmegaConfBaseException):
        key = f"{error.full_key}: " if error.full_key else ""
        return f"{key}{text.splitlines()[0]}" if text else type(error).__name__
    refused = re.match(r"Could not (?:override|delete(?: from config\.)?) '([^']*)'", text)
    if refused:
        return f"{refused[1]} is no option{did_you_mean(refused[1], _known(name, overrides))}"
    if text.startswith("Could not append"):
        return f"{text.splitlines()[0]} Leave out the + to change it"
    first = text.splitlines()[0] if text else str(error.__cause__ or type(error).__name__)
    if text.startswith("Ambiguous value"):
        return f"{first}; expected one value, a list as key=[value1,value2], or -m for one run with each"
    cause = error.__cause__
    return f"{first}: {str(cause).splitlines()[0]}" if isinstance(cause, OmegaConfBaseException) else first


def _refuse(problems: list[Problem]) -> None:
    """Raise one line with the first problem of each key."""
    first = {one.key: one for one in reversed(problems)}
    if problems:
        raise ValueError("; and ".join(f"{one.key} {one.reason}" for one in reversed(first.values())))


def _added(name: str, values: Any, overrides: Sequence[str]) -> Iterator[Problem]:
    """Yield the added keys without effect: those of no file in ``conf/`` and of no ``_target_``."""
    added = [one.lstrip("+").partition("=")[0] for one in overrides if one.startswith("+")]
    for key in (key for key in added if key.startswith("hydra.") and not hasattr(HydraConf, key.split(".")[1])):
        yield Problem(key, f"is no option{did_you_mean(key.split('.')[1], HydraConf.__dataclass_fields__)}")
    keys = [key for key in added if not (CONF / key.partition("@")[0]).is_dir() and not key.startswith("hydra.")]
    base: Any = OmegaConf.to_container(composed(name, _choices(overrides))) if keys else {}
    for key in keys:
        before, after = base, values
        *parents, last = key.split(".")
        for depth, part in enumerate([*parents, last]):
            if not isinstance(before, dict) or "_target_" in before:
                break
            after = after.get(part) if isinstance(after, dict) else None
            if part not in before:
                if not (isinstance(after, dict) and "_target_" in after):
                    prefix = "".join(f"{parent}." for parent in parents[:depth])
                    known = [f"{prefix}{one}" for one in before]
                    yield Problem(f"{prefix}{part}", f"is no option{did_you_mean(f'{prefix}{part}', known)}")
                break
            before = before[part]


def _known(name: str, overrides: Sequence[str]) -> list[str]:
    """Return the dotted keys of the configuration and the names of its groups."""
    try:
        base: Any = OmegaConf.to_container(composed(name, _choices(overrides)))
    except (HydraException, OmegaConfBaseException):
        base = OmegaConf.to_container(composed(name, []))
    groups = [str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()]
    return [*_dotted(base, ""), *groups]


def _choices(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that choose files of config groups."""
    keys = [one.lstrip("+~").partition("=")[0].partition("@")[0] for one in overrides]
    return [one for one, key in zip(overrides, keys, strict=True) if key and "." not in key and (CONF / key).is_dir()]


def _dotted(values: Any, prefix: str) -> Iterator[str]:
    for key, value in values.items() if isinstance(values, dict) else ():
        yield f"{prefix}{key}"
        yield from _dotted(value, f"{prefix}{key}.")


def _interpolated(raw: Any, key: str) -> bool:
    """Return whether the value at a dotted key is another option's, by interpolation; that option is checked at its own place."""
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else raw[int(part)] if isinstance(raw, list) and part.isdecimal() else None
        if isinstance(raw, str) and _INTERPOLATION.search(raw):
            return True
    return False


def _without_missing(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_missing(value) for key, value in values.items() if value != "???"}
    return [_without_missing(value) for value in values] if isinstance(values, list) else values
