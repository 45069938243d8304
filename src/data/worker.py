"""Set-up of loader processes."""

import signal

import cv2
import numpy as np
import torch

# Bytes; with its header just under 32 MiB, the maximum of glibc's dynamic threshold (mallopt(3), M_MMAP_THRESHOLD).
_LARGEST_BLOCK = 2**25 - 2**16


def prepare_worker(worker: int) -> None:
    """Restrict a loader process to one thread, and keep its freed memory for the next sample.

    Several processes with a thread pool each would compete for the same cores. glibc returns blocks of the size of an image to
    the system and maps empty pages for the next image, which can take longer than decoding it. After a larger block was freed,
    up to 32 MiB, glibc keeps such blocks.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    np.empty(_LARGEST_BLOCK, np.uint8)


def start_worker(worker: int) -> None:
    """Prepare a loader process of training, which ignores the signals that stop a training.

    A job scheduler and a terminal signal all processes of a job. Without its loaders, the training process would fail before its
    checkpoint. The loaders end with it.
    """
    prepare_worker(worker)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
