"""Evaluate methods, prediction files, or flows, over clips.

``python -m src.eval checkpoint=<model> data=<name> output=<file.json>``
``python -m src.eval predictions=<folder> data=<name> output=<file.json>``
``python -m src.eval what=label_propagation|endpoint_error data=<name> output=<file.json>``
``engine=ray`` divides the clips among workers: the same scores, sooner.
"""

from src.command_line.command import imported_command

main = imported_command("eval", "run")

if __name__ == "__main__":
    main()
