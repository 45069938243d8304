"""Evaluate methods, prediction files, or flows, over clips.

``python -m src.eval checkpoint=<model> data=<name> output=<file.json>``
``python -m src.eval predictions=<folder> data=<name> output=<file.json>``
``python -m src.eval what=label_propagation|endpoint_error data=<name> output=<file.json>``
``torchrun --nproc_per_node=<n> -m src.eval ...`` divides the clips among processes: the same scores, sooner.
"""

import sys

import hydra
from omegaconf import DictConfig

from src.command_line.arguments import prepare_arguments, require_values
from src.command_line.errors import errors_in_a_line


@hydra.main(version_base="1.3", config_path="../conf", config_name="eval")
def main(cfg: DictConfig) -> None:
    """Evaluate, print the table and write it."""
    with errors_in_a_line():
        without_model = cfg.what != "masks" or cfg.predictions is not None
        require_values(cfg, "output", *([] if without_model else ["checkpoint"]))
        # After the checks: these imports take seconds.
        from src.commands.eval import run

        code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    prepare_arguments()
    main()
