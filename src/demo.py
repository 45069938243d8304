"""Serve a page on this machine to try a model on video: ``python -m src.demo checkpoint=<model>``."""

import sys

from omegaconf import DictConfig

from src.command_line.command import command


@command("demo")
def main(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C."""
    # After the check of the options: these imports take seconds.
    from src.commands.demo import run

    code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
