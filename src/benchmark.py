"""Measure cost and speed of a model: ``python -m src.benchmark experiment=<name> what=<measurement>``."""

from omegaconf import DictConfig

from src.command_line.command import command


@command("benchmark")
def main(cfg: DictConfig) -> None:
    """Measure, print the table and write it."""
    # After the check of the options: these imports take seconds.
    from src.commands.benchmark import benchmark

    benchmark(cfg)


if __name__ == "__main__":
    main()
