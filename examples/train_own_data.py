"""Train the segmentor on own frames and masks: python -m examples.train_own_data mydata trainer.max_steps=1000.

``mydata`` holds classes.yaml, frames/<video>/*.jpg, masks/<video>/*.png, train.txt and val.txt: docs/datasets.md.
"""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from src.commands.train import train

CONF = Path(__file__).resolve().parents[1] / "conf"


def main(root: str, *overrides: str) -> dict[str, float]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["stage=segmentor", "data=folder", f"data.root={root}", "name=own_data", "logger=csv", *overrides])
    return train(cfg)  # the model is in outputs/own_data/segmentor/model


if __name__ == "__main__":
    main(*sys.argv[1:])
