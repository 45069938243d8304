"""Predict a video: ``python -m src.predict input=<video> checkpoint=<model> output=<folder>``.

Many: ``input=<folder of videos>`` or ``input=<list>.txt``, over several processes by torchrun or srun.
"""

import sys

import hydra
from omegaconf import DictConfig

from src.command_line.arguments import prepare_arguments, require_values
from src.command_line.errors import errors_in_a_line


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predict ``input`` and end with the exit code that ``conf/predict.yaml`` documents."""
    with errors_in_a_line():
        require_values(cfg, "input", "checkpoint", "output")
        # After the checks: these imports take seconds.
        from src.commands.predict import run

        code = run(cfg)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    prepare_arguments()
    main()
