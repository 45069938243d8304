"""Evaluate methods, prediction files, or flows, over clips.

``python -m src.eval checkpoint=<model> data=<name> output=<file.json>``
``python -m src.eval predictions=<folder> data=<name> output=<file.json>``
``python -m src.eval what=label_propagation|endpoint_error data=<name> output=<file.json>``
``torchrun --nproc_per_node=<n> -m src.eval ...`` divides the clips among processes: the same scores, sooner.
"""

import sys

from omegaconf import DictConfig

from src.command_line.command import command


@command("eval")
def main(cfg: DictConfig) -> None:
    """Evaluate, print the table and write it."""
    # After the check of the options: these imports take seconds.
    from src.commands.eval import run

    code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
