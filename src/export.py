"""Export a model's networks for a runtime: ``python -m src.export checkpoint=<model> output=<folder> imgsz=[480,864]``."""

from src.command_line.command import imported_command

main = imported_command("export", "export")

if __name__ == "__main__":
    main()
