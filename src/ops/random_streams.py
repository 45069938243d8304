"""Numbers of the independent random streams under one seed."""

from enum import IntEnum, unique


@unique
class RandomStream(IntEnum):
    """Second entry of the key ``(seed, stream, sample, ...)`` of a NumPy generator: draws of one stream never move another's.

    A changed value changes the draws of that stream in every run.
    """

    VISIT_ORDER = 101
    PAIR_PARTNER = 102
    SYNTHETIC_MOTION = 201
    TRANSFORM = 202
    REPLACEMENT = 203
    PAIR_SOURCE = 204
    DEVICE_COLOR_JITTER = 205
    DROP_PATH = 0x1A7E
