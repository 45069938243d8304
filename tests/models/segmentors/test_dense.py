"""Laws of dense segmentors: transformers' own label maps at every key frame, and their masks carried as those of queries."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, DPTForDepthEstimation, SegformerConfig
from transformers import SegformerForImageClassification as Classifier

from src.inference.flow_choice import with_flow
from src.inference.runtime.frames import FrameRuntime
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.models.flow import CopyFlow, CorrelationFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.dense import DENSE_TYPES, DenseSegmentor
from src.models.segmentors.registry import load_segmentor, replace_class_head
from src.ops.masks import best_class, semantic_map, semantic_scores
from src.weights.checkpoints import load_checkpoint
from src.weights.model_folder import load_model, save_model
from tests.models.dense_families import FAMILIES, NUM_CLASSES, build, processor, save

HEIGHT, WIDTH = 70, 101


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("saved") / "segformer")


def pictures(count: int = 1) -> Tensor:
    """Smooth images that move, (B, 3, H, W) uint8."""
    noise = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(3)) * 255
    large = torch.nn.functional.interpolate(noise, (HEIGHT + 20, WIDTH + 20), mode="bicubic").clamp(0, 255).byte()[0]
    return torch.stack([large[:, n : n + HEIGHT, 2 * n : 2 * n + WIDTH] for n in range(count)])


def expected(folder: Path, image: Tensor) -> Tensor:
    """Return transformers' label map of an image (3, H, W)."""
    prepare, network = AutoImageProcessor.from_pretrained(folder), AutoModelForSemanticSegmentation.from_pretrained(folder)
    with torch.inference_mode():
        output = network.eval()(**prepare(images=image, return_tensors="pt"))
        found: Tensor = prepare.post_process_semantic_segmentation(output, target_sizes=[(HEIGHT, WIDTH)])[0]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_label_maps_are_those_of_transformers_bit_for_bit(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = save(tmp_path / "saved", family)
    propagator, metadata = load_checkpoint(folder)
    assert metadata == {"classes": [f"thing {number}" for number in range(NUM_CLASSES)]}
    images = pictures(2)
    stream = StreamingSegmentor(with_flow(propagator, metadata), FixedInterval(1))
    maps = list(stream.stream(images[:, None]))
    assert len(maps[0].unique()) > 1
    for image, found in zip(images, maps, strict=True):
        assert torch.equal(found, expected(folder, image))
    save_model(propagator, tmp_path / "own", metadata)
    again, names = load_model(tmp_path / "own")
    assert names == metadata
    with torch.inference_mode():
        prediction, other = again.segmentor(images), propagator.segmentor(images)
    # Not bits: kernels of transformers differ with the place of weights in memory.
    torch.testing.assert_close(prediction.mask_logits, other.mask_logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(semantic_map(prediction), best_class(semantic_scores(prediction)))


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("fuse_keys", [False, True])
@pytest.mark.parametrize("flow", ["dis", "copy", "correlation"])
def test_streams_carry_and_fuse(folder: Path, mode: Mode, fuse_keys: bool, flow: str) -> None:
    propagator, metadata = load_checkpoint(folder)
    torch.manual_seed(1)
    chosen = (
        Propagator(propagator.segmentor, CorrelationFlow(encoder_channels=(8, 8, 8, 8, 8), decoder_channels=((8, 8),) * 4))
        if flow == "correlation"
        else with_flow(propagator, metadata, flow)
    )
    images = pictures(7)
    stream = StreamingSegmentor(chosen, FixedInterval(3), mode=mode, fuse_keys=fuse_keys)
    for image, result in zip(images, stream.label_frames(images[:, None]), strict=True):
        prediction, found = result.result.prediction, result.semantic_map
        scores = semantic_scores(prediction)
        # Ties of float rounding.
        assert (found != best_class(scores)).float().mean() < 1e-3
        assert prediction.dense
        assert scores.shape == (1, NUM_CLASSES, HEIGHT, WIDTH)
        if result.result.is_key and not fuse_keys:
            assert torch.equal(found[0], expected(folder, image))


def test_adaptive_schedules_and_other_result_sizes(folder: Path) -> None:
    propagator, metadata = load_checkpoint(folder)
    stream = StreamingSegmentor(with_flow(propagator, metadata), Adaptive(max_interval=4), short_side=48)
    maps = list(stream.stream(pictures(6)[:, None]))
    assert {tuple(one.shape) for one in maps} == {(HEIGHT, WIDTH)}


def test_frame_size_rule_reads_frames_at_their_size(folder: Path) -> None:
    propagator, _ = load_checkpoint(folder, dense_size="frame")
    with torch.inference_mode():
        assert propagator.segmentor(pictures()).mask_logits.shape == (1, NUM_CLASSES, 96 // 4, 128 // 4)
        same = load_checkpoint(folder, dense_size="frame")[0].segmentor(pictures()[..., :64, :96])
    assert same.mask_logits.shape[-2:] == (16, 24)
    with pytest.raises(ValueError, match="dense_size is frame, and street has a Mask2FormerSegmentor"):
        load_checkpoint("street", dense_size="frame")


def test_networks_that_need_one_size_refuse_others() -> None:
    segmentor = DenseSegmentor(build("dpt"), processor("dpt"), "frame").eval()
    with pytest.raises(ValueError, match=r"DPTForSemanticSegmentation cannot read images of 96x128: .*use dense_size=checkpoint"):
        segmentor(pictures())


def test_flows_with_queries_and_runtimes_are_refused(folder: Path) -> None:
    segmentor = load_segmentor(str(folder))
    with pytest.raises(ValueError, match="the flow reads queries, and a dense segformer has none; expected one flow for all"):
        Propagator(segmentor, QueryFlow(query_dim=1, num_queries=NUM_CLASSES, hidden_dim=32, ffn_dim=32, decoder_layers=1))
    with pytest.raises(ValueError, match="disocclusion head"):
        Propagator(segmentor, CorrelationFlow(disocclusion_classes=NUM_CLASSES))
    dense = Propagator(segmentor, CopyFlow()).eval()
    with pytest.raises(ValueError, match="runtime is openvino, and the segmentor is dense"):
        FrameRuntime(dense, "openvino")
    assert FrameRuntime(dense, "auto").kind == "eager"


def test_gradients_reach_both_networks(folder: Path) -> None:
    model = Propagator(
        load_segmentor(str(folder)), CorrelationFlow(encoder_channels=(8, 8, 8, 8, 8), decoder_channels=((8, 8),) * 4)
    )
    images = pictures(2)
    prediction, _ = model(images[:1], images[1:])
    semantic_scores(prediction).square().mean().backward()
    assert all(any(p.grad is not None for p in part.parameters()) for part in (model.segmentor, model.flow))


def test_other_number_of_classes_re_initializes_what_depends_on_it(folder: Path) -> None:
    old, new = load_segmentor(str(folder)), load_segmentor(str(folder), num_classes=9)
    assert new.num_classes == 9
    before = old.state_dict()
    changed = [name for name, value in new.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["network.decode_head.classifier.weight", "network.decode_head.classifier.bias"]
    assert replace_class_head(old, 9).num_classes == 9
    with torch.inference_mode():
        assert semantic_scores(new.eval()(pictures())).shape[1] == 9


def rewrite(folder: Path, file: str, **changes: object) -> None:
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**values, **changes}))


def test_bad_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(folder: Path, match: str) -> None:
        with pytest.raises(ValueError, match=match) as error:
            load_checkpoint(folder)
        assert "\n" not in str(error.value)

    folder = save(tmp_path / "a")
    rewrite(folder, "preprocessor_config.json", image_processor_type="MyImageProcessor")
    refused(folder, "image_processor_type is 'MyImageProcessor'; expected one of transformers")
    (folder / "preprocessor_config.json").unlink()
    refused(folder, "has no preprocessor_config.json; expected that of its image processor")
    folder = save(tmp_path / "b")
    rewrite(folder, "config.json", id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    refused(folder, "weights in .* do not fit.*of another shape decode_head.classifier")
    folder = save(tmp_path / "c", "dpt")
    DPTForDepthEstimation(build("dpt").config).save_pretrained(folder)
    refused(folder, "contains a DPTForDepthEstimation; expected a DPTForSemanticSegmentation")
    Classifier(SegformerConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])).save_pretrained(folder)
    refused(folder, "contains a SegformerForImageClassification; expected a SegformerForSemanticSegmentation")
    rewrite(folder, "config.json", model_type="vit")
    refused(folder, f"contains a 'vit' model; expected one of mask2former, .*{', '.join(DENSE_TYPES)}")
    folder = save(tmp_path / "d", "upernet")
    rewrite(folder, "config.json", backbone="microsoft/resnet-50", backbone_config=None)
    refused(folder, "backbone is 'microsoft/resnet-50'; expected a backbone_config, so that nothing is fetched")
    folder = save(tmp_path / "e", num_classes=1)
    refused(folder, "has 1 class; expected at least 2")
