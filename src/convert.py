"""Convert published weights to ours and back: ``python -m src.convert input=<file> output=<folder> [to=official]``."""

import hydra
from omegaconf import DictConfig

from src.command_line.arguments import prepare_arguments, require_values


@hydra.main(version_base="1.3", config_path="../conf", config_name="convert")
def main(cfg: DictConfig) -> None:
    """Convert the weights and log what they are."""
    require_values(cfg, "input", "output")
    # After the checks: these imports take seconds.
    from src.commands.convert import convert

    convert(cfg)


if __name__ == "__main__":
    prepare_arguments()
    main()
