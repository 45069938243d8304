import pytest
import torch

from src.models.segmentors.oneformer import TASK_TOKENS, OneFormerSegmentor
from tests.models.families import network, picture


def test_the_task_is_read_as_clip_writes_it_and_survives_half_precision():
    made = network("oneformer")
    made.model.is_training = False
    segmentor = OneFormerSegmentor(made).eval()
    assert segmentor.task_tokens.shape == (1, 77) and segmentor.task_tokens[0, 7:].eq(0).all()
    assert segmentor.task_tokens[0, :7].tolist() == [49406, 518, 10549, 533, 29119, 1550, 49407]
    seen = []
    segmentor.parts()["task_encoder"].register_forward_hook(lambda _module, _args, token: seen.append(token))
    with torch.no_grad():
        segmentor(picture())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            segmentor(picture())
    assert torch.equal(*seen)


def test_a_task_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=f"expected one of {', '.join(TASK_TOKENS)}"):
        OneFormerSegmentor(network("oneformer"), task="video")
