"""Serve a page on this machine to try a model on video: ``python -m src.demo checkpoint=<model>``."""

from src.command_line.command import imported_command

main = imported_command("demo", "run")

if __name__ == "__main__":
    main()
