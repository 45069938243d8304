"""Number of classes of the user's own data, which its ``classes.yaml`` determines."""

from omegaconf import DictConfig

from src.data.datasets.classes_yaml import count_classes


def fill_num_classes(data: DictConfig) -> None:
    """Set ``data.num_classes`` from ``classes.yaml`` where the configuration leaves it null (``data=folder``).

    A number that the user has set stays; the dataset raises an error if it differs from the file.
    """
    if data.num_classes is None:
        data.num_classes = count_classes(data.root)
