"""Predict a video: ``python -m src.predict input=<video> checkpoint=<model> output=<folder>``.

Many: ``input=<folder of videos>`` or ``input=<list>.txt``, by many workers with ``engine=ray``.
"""

from src.command_line.command import imported_command

main = imported_command("predict", "run")

if __name__ == "__main__":
    main()
