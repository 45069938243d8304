"""Measure cost and speed of a model: ``python -m src.benchmark experiment=<name> what=<measurement>``."""

from src.command_line.command import imported_command

main = imported_command("benchmark", "benchmark")

if __name__ == "__main__":
    main()
