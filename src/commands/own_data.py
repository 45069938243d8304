"""Settings of the user's own data that its files determine."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from src.data.datasets.classes_yaml import count_classes
from src.data.datasets.own.survey import CLOSE, survey

log = logging.getLogger(__name__)


def fill_num_classes(data: DictConfig) -> None:
    """Set ``data.num_classes`` from ``classes.yaml`` where the configuration leaves it null (``data=folder``).

    A number that the user has set stays; the dataset raises an error if it differs from the file.
    """
    if data.num_classes is None:
        data.num_classes = count_classes(data.root)


def fill_from_files(data: DictConfig) -> None:
    """Set the number of classes, and the training crop and the source of motion where they are null or ``auto``; log both."""
    fill_num_classes(data)
    choose_motion, choose_crop = data.get("motion_from") == "auto", "crop_size" in data and data.crop_size is None
    if not (choose_motion or choose_crop):
        return
    found = survey(instantiate(data.train))
    if choose_motion:
        data.motion_from = found.motion_from
        counts = f"{found.paired} of {found.labelled} labelled frames have a frame at most {CLOSE:g} s before them"
        log.info("data.motion_from=%s: %s (frames if at least half; stills | frames chooses)", data.motion_from, counts)
    if choose_crop:
        data.crop_size = list(found.crop_size)
        size = "x".join(map(str, found.smallest))
        log.info("data.crop_size=[%d,%d]: the smallest frame is %s (HxW)", *found.crop_size, size)
