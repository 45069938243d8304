from src.inference.cost_probe import measure_ms
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from tests.inference.tiny import frames, tiny_propagator


def test_measured_costs_are_those_of_the_stream() -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3))
    costs = measure_ms(stream, frames(1, (96, 128))[0][None], repeats=3)
    assert 0 < costs.nonkey < costs.key
