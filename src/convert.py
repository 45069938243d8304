"""Convert published weights to ours and back: ``python -m src.convert input=<file> output=<folder> [to=official]``."""

from src.command_line.command import imported_command

main = imported_command("convert", "convert")

if __name__ == "__main__":
    main()
