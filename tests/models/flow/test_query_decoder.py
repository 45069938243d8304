import pytest
import torch

from src.models.flow.query_decoder import JointLayer, QueryDecoder

LEVELS = [torch.randn(2, 6, 1, 2), torch.randn(2, 5, 2, 3), torch.randn(2, 4, 3, 6)]


def decoder(num_layers: int) -> QueryDecoder:
    return QueryDecoder((6, 5, 4), num_queries=3, hidden_dim=8, num_heads=2, ffn_dim=16, num_layers=num_layers).eval()


def test_without_layers_queries_stay_and_features_are_projected() -> None:
    queries = torch.randn(2, 3, 8)
    after, refined = decoder(0)(queries, LEVELS)
    assert torch.equal(after, queries)
    assert [tuple(level.shape) for level in refined] == [(2, 8, 1, 2), (2, 8, 2, 3), (2, 8, 3, 6)]


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
def test_layer_n_updates_level_n(num_layers: int) -> None:
    network, queries = decoder(num_layers), torch.randn(2, 3, 8)
    untouched = QueryDecoder((6, 5, 4), 3, 8, 2, 16, num_layers=0)
    untouched.load_state_dict({k: v for k, v in network.state_dict().items() if "layers" not in k and "query_embed" not in k})
    before = untouched(queries, LEVELS)[1]
    after = network(queries, LEVELS)[1]
    changed = [not torch.allclose(a, b) for a, b in zip(after, before, strict=True)]
    assert changed == [level < num_layers for level in range(3)]


def test_permuting_queries_and_their_embeddings_permutes_the_result() -> None:
    network, queries, order = decoder(4), torch.randn(2, 3, 8), torch.tensor([2, 0, 1])
    before, levels_before = network(queries, LEVELS)
    assert network.query_embed is not None
    network.query_embed.weight.data = network.query_embed.weight.data[order]
    after, levels_after = network(queries[:, order], LEVELS)
    torch.testing.assert_close(after, before[:, order])
    for a, b in zip(levels_after, levels_before, strict=True):
        torch.testing.assert_close(a, b)


def test_a_layer_equals_torchs_own_encoder_layer() -> None:
    ours, tokens = JointLayer(8, 2, 16), torch.randn(2, 7, 8)
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
    pairs = {
        "self_attn.in_proj_": "attention_in.",
        "self_attn.out_proj.": "attention_out.",
        "norm1.": "attention_norm.",
        "linear1.": "ffn_in.",
        "linear2.": "ffn_out.",
        "norm2.": "ffn_norm.",
    }
    state = ours.state_dict()
    theirs.load_state_dict({a + kind: state[b + kind] for a, b in pairs.items() for kind in ("weight", "bias")})
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a multiple of num_heads"):
        JointLayer(10, 4, 8)
