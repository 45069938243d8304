"""Law: no two random streams under one seed share a number, and no other file numbers a stream."""

import re
from pathlib import Path

import numpy as np

from src.ops.random_streams import RandomStream

SRC = Path(__file__).resolve().parents[2] / "src"


def test_streams_of_one_seed_and_sample_differ() -> None:
    draws = {np.random.default_rng((7, stream, 11)).random() for stream in RandomStream}
    assert len(draws) == len(RandomStream.__members__)


def test_a_stream_draws_as_its_plain_number_does() -> None:
    assert np.random.default_rng((7, RandomStream.TRANSFORM, 11)).random() == np.random.default_rng((7, 202, 11)).random()


def test_streams_are_numbered_in_one_file() -> None:
    numbered = re.compile(r"^\w*_?STREAM\b[\w, ]*=|default_rng\(\([^*,()]+, *(0x)?\d", re.MULTILINE)
    assert numbered.search("_A_STREAM, _B_STREAM = 1, 2") and numbered.search("default_rng((seed, 203, number))")
    assert [path.name for path in SRC.rglob("*.py") if numbered.search(path.read_text(encoding="utf-8"))] == []
