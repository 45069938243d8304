"""Predict a video: ``python -m src.predict input=<video> checkpoint=<model> output=<folder>``.

Many: ``input=<folder of videos>`` or ``input=<list>.txt``, over several processes by torchrun or srun.
"""

import sys

from omegaconf import DictConfig

from src.command_line.command import command


@command("predict")
def main(cfg: DictConfig) -> None:
    """Predict ``input`` and end with the exit code that ``conf/predict.yaml`` documents."""
    # After the check of the options: these imports take seconds.
    from src.commands.predict import run

    code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
