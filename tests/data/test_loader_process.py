import subprocess
import sys

import pytest

# In a process of its own: what the C library has learnt cannot be unlearnt.
PAGES = """
import resource
import numpy as np
from src.data.loader_process import prepare_worker

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
def test_the_memory_of_pictures_is_kept_for_the_next_ones():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=300)
    before, after = map(int, done.stdout.split())
    # 80 pictures of 300 pages each.
    assert before > 10_000 and after < 100
