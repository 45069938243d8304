"""Settings of a command that do not apply to clip segmentors."""

from collections.abc import Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.command_line.composition import CONF


def refuse_settings(cfg: DictConfig, command: str, names: Sequence[str]) -> None:
    """Refuse settings of key frames and flow that differ from their defaults in ``conf/<command>.yaml``.

    Raises:
        ValueError: if one does; the message names it.
    """
    defaults = cast(DictConfig, OmegaConf.load(CONF / f"{command}.yaml"))
    for name in names:
        refuse_setting(cfg, name, cfg[name], (defaults[name],))


def refuse_setting(cfg: DictConfig, name: str, value: Any, expected: Sequence[Any]) -> None:
    """Raise a ``ValueError`` unless a setting has one of the expected values, the first of which is its default."""
    if value not in expected:
        raise ValueError(
            f"{name} is {value}; expected {' or '.join(map(str, expected))}, as {cfg.checkpoint} is a clip segmentor, which runs "
            f"on every frame without key frames and flow; leave out {name}"
        )
