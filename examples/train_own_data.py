"""Train the segmentor on own frames and masks: python -m examples.train_own_data mydata trainer.max_steps=1000.

``mydata`` holds classes.yaml, frames/<video>/*.jpg, masks/<video>/*.png and optionally val.txt: docs/datasets.md.
"""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from src.commands.train import train

CONF = Path(__file__).resolve().parents[1] / "conf"


def main(root: str, *overrides: str) -> dict[str, float]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["experiment=own_data", "stage=segmentor", f"data.root={root}", "logger=csv", *overrides])
    return train(cfg)  # the model is in outputs/own_data/segmentor/model


if __name__ == "__main__":
    main(*sys.argv[1:])
