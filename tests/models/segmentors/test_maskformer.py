"""Laws of MaskFormer: one mask per query and pixel feature, deep supervision through the decoder's norm."""

import pytest
import torch

from src.models.segmentors.maskformer import MaskFormerSegmentor
from tests.models.families import NUM_QUERIES, network, picture


@pytest.fixture
def segmentor() -> MaskFormerSegmentor:
    return MaskFormerSegmentor(network("maskformer")).eval()


def test_masks_are_products_of_mask_embeddings_and_pixel_features(segmentor):
    found = {}
    for name in ("mask_head", "pixel_decoder"):
        segmentor.parts()[name].register_forward_hook(lambda _module, _args, output, name=name: found.update({name: output}))
    with torch.no_grad():
        masks = segmentor(picture()).mask_logits
    pixels, embeddings = found["pixel_decoder"].last_hidden_state, found["mask_head"]
    expected = (embeddings[:, :, :, None, None] * pixels[:, None]).sum(2)
    torch.testing.assert_close(masks, expected, rtol=1e-4, atol=1e-4)


def test_every_layer_is_predicted_in_training_and_each_through_the_norm(segmentor):
    image, decoder = picture(), segmentor.parts()["transformer_decoder"].decoder
    states = []
    for layer in decoder.layers:
        layer.register_forward_hook(lambda _module, _args, state: states.append(state))
    with torch.no_grad():
        last = segmentor(image)
        del states[:]
        segmentor.parts()["class_head"].train()  # draws nothing at random, but asks for deep supervision
        prediction = segmentor(image)
        expected = [segmentor.parts()["class_head"](decoder.layernorm(state)) for state in states]
    assert prediction.class_logits_per_layer.shape[:3] == (2, 2, NUM_QUERIES)
    torch.testing.assert_close(prediction.class_logits_per_layer, torch.stack(expected))
    assert last.class_logits_per_layer.shape[0] == 1 and torch.equal(last.class_logits, prediction.class_logits)


def test_fields_of_the_decoder_that_are_missing_or_unknown_are_refused(segmentor):
    config = segmentor.config()
    decoder = config["decoder_config"]
    with pytest.raises(ValueError, match="decoder_config of a MaskFormer: num_queries missing"):
        MaskFormerSegmentor.from_config({**config, "decoder_config": {k: v for k, v in decoder.items() if k != "num_queries"}})
    with pytest.raises(ValueError, match="decoder_config of a MaskFormer: auto_map missing or unknown"):
        MaskFormerSegmentor.from_config({**config, "decoder_config": {**decoder, "auto_map": {}}})
