"""Convert published weights to ours and back: ``python -m src.convert input=<file> output=<folder> [to=official]``."""

from omegaconf import DictConfig

from src.command_line.command import command


@command("convert")
def main(cfg: DictConfig) -> None:
    """Convert the weights and log what they are."""
    # After the check of the options: these imports take seconds.
    from src.commands.convert import convert

    convert(cfg)


if __name__ == "__main__":
    main()
