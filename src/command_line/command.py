"""Entry points: one decorator that prepares the command line, checks the options and reports errors in a line."""

import functools
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra._internal import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.command_line.arguments import check_choices, prepare_arguments
from src.command_line.composition import CONF, adopt_targets, check_options, check_sweep, composed, explain
from src.command_line.errors import errors_in_a_line
from src.command_line.experiments import require_experiment
from src.command_line.help import print_help

Task = Callable[[DictConfig], Any]


def command(name: str, exit_code: int = 1, checked: bool = True) -> Callable[[Task], Callable[[], None]]:
    """Make a function of the configuration ``conf/<name>.yaml`` an entry point.

    Args:
        name: entry point.
        exit_code: of errors.
        checked: whether the options are checked here; ``False`` if the function calls :func:`check_given` itself.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> Any:
            with errors_in_a_line(exit_code):
                adopt_targets(cfg)
                if checked:
                    check_given(name, cfg)
                return task(cfg)

        @functools.wraps(job)
        def main() -> None:
            with errors_in_a_line(exit_code):
                prepare_arguments()
                # Bars of libraries, which rewrite their line, are kept out of log files; before the libraries are imported.
                for bar in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS") if not sys.stderr.isatty() else ():
                    os.environ.setdefault(bar, "1")
                flags, unknown = hydra_utils.get_args_parser().parse_known_args()
                if unknown and not unknown[0].startswith("-"):
                    raise ValueError(f"{unknown[0]} comes after a flag, others before it; expected all options after the flags")
                if unknown:
                    raise ValueError(f"{unknown[0]} is no flag; expected <option>=<value>, or a flag of --hydra-help")
                try:
                    if flags.help:
                        folder = [f"hydra.searchpath=['{Path(flags.config_dir).resolve()}']"] if flags.config_dir else []
                        print_help(name, [*flags.overrides, *folder])
                        sys.exit(0)
                    if not (flags.config_dir or flags.config_name or flags.config_path or flags.cfg or flags.info):
                        # Before Hydra writes into the run folder, which may be that of an earlier run.
                        if flags.multirun:
                            check_sweep(name, flags.overrides)
                        else:
                            cfg = composed(name, flags.overrides)
                            if name in ("train", "benchmark"):
                                check_choices(cfg, flags.overrides, multirun=False)
                            check_options(name, cfg, flags.overrides)
                        if name == "train":
                            require_experiment(flags.overrides)
                    hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
                except (HydraException, OmegaConfBaseException) as error:
                    raise ValueError(explain(name, error, flags.overrides)) from error

        return main

    return decorate


def imported_command(name: str, function: str, module: str | None = None) -> Callable[[], None]:
    """Make a function of ``src.commands.<module or name>`` an entry point; a number that it returns is the exit code."""

    def task(cfg: DictConfig) -> None:
        # After the check of the options: these imports take seconds.
        code = getattr(import_module(f"src.commands.{module or name}"), function)(cfg)
        if isinstance(code, int) and code:
            sys.exit(code)

    return command(name)(task)


def check_given(name: str, cfg: DictConfig) -> None:
    """Check the options of this process's command line; see :func:`src.command_line.composition.check_options`."""
    check_options(name, cfg, HydraConfig.get().overrides.task if HydraConfig.initialized() else ())


# Hydra prints its own errors over several lines and exits. HYDRA_FULL_ERROR would stop that too, but child processes inherit it.
hydra_utils.run_and_report = lambda func: func()
