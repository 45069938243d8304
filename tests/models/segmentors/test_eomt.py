"""Law of EoMT: masked attention follows its probabilities, without randomness outside of training."""

import pytest
import torch

from src.models.segmentors.eomt import EomtSegmentor
from tests.models.families import network, picture


def test_attention_is_masked_from_a_probability_of_one_half():
    bound, free = (EomtSegmentor(network("eomt"), probability).eval() for probability in ((1.0, 1.0), (0.0, 0.0)))
    free.load_state_dict(bound.state_dict())
    image = picture(50, 70)
    with torch.no_grad():
        assert len(bound(image).mask_logits_per_layer) == 3 and len(free(image).mask_logits_per_layer) == 1
        assert not torch.allclose(bound(image).mask_logits, free(image).mask_logits, atol=1e-3)
        free.mask_probabilities = (0.6, 0.9)
        assert torch.equal(free(image).mask_logits, bound(image).mask_logits)
    with pytest.raises(ValueError, match="1 mask_probabilities; expected one for each of 2 blocks"):
        EomtSegmentor(network("eomt"), (1.0,))
