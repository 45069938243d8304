"""Upload a model to the Hugging Face hub: ``python -m src.push input=<model folder> repo_id=<owner>/<name>``."""

from src.command_line.command import imported_command

main = imported_command("push", "push", "hub.push")

if __name__ == "__main__":
    main()
