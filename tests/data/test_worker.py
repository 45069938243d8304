import os
import signal
import subprocess
import sys

import cv2
import pytest
import torch

from src.data.worker import start_worker

# In a separate process, as glibc never lowers its threshold.
PAGES = """
import resource
import numpy as np
from src.data.worker import prepare_worker

def empty_pages_taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        pictures = [np.ones((480, 853, 3), np.uint8) for _ in range(4)]
        del pictures
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = empty_pages_taken()
prepare_worker(0)
empty_pages_taken()
print(first, empty_pages_taken())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about the C library of Linux")
def test_the_memory_of_images_is_reused():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=300)
    before, after = map(int, done.stdout.split())
    # 80 pictures of 300 pages each.
    assert before > 10_000 and after < 100


def test_loaders_survive_a_signal_to_all_processes_of_a_job() -> None:
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        start_worker(0)
        for number in numbers:
            os.kill(os.getpid(), number)
        assert torch.get_num_threads() == 1
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
