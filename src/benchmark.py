"""Measure cost and speed of a model: ``python -m src.benchmark experiment=<name> what=<measurement>``."""

import hydra
from omegaconf import DictConfig

from src.command_line.arguments import prepare_arguments, require_values
from src.command_line.errors import errors_in_a_line


@hydra.main(version_base="1.3", config_path="../conf", config_name="benchmark")
def main(cfg: DictConfig) -> None:
    """Measure, print the table and write it."""
    with errors_in_a_line():
        if cfg.checkpoint is None:
            require_values(cfg)
        # After the checks: these imports take seconds.
        from src.commands.benchmark import benchmark

        benchmark(cfg)


if __name__ == "__main__":
    prepare_arguments()
    main()
