"""Laws of OneFormer: CLIP's tokens of the task, in any precision."""

import pytest
import torch

from src.models.segmentors.oneformer import TASK_TOKENS, OneFormerSegmentor
from tests.models.families import network, picture


def test_the_task_has_clips_tokens_and_is_exact_under_half_precision():
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


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=f"expected one of {', '.join(TASK_TOKENS)}"):
        OneFormerSegmentor(network("oneformer"), task="video")
