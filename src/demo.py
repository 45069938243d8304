"""Serve a page on this machine to try a model on video: ``python -m src.demo checkpoint=<model>``."""

import sys

import hydra
from omegaconf import DictConfig

from src.command_line.arguments import prepare_arguments, require_values
from src.command_line.errors import errors_in_a_line


@hydra.main(version_base="1.3", config_path="../conf", config_name="demo")
def main(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C."""
    with errors_in_a_line():
        require_values(cfg, "checkpoint")
        # After the checks: these imports take seconds.
        from src.commands.demo import run

        code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    prepare_arguments()
    main()
