"""Law: every data set reads equal samples from shards and from its folder."""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.data.clips import ClipDataset
from src.data.datamodule import PairDataModule
from src.data.datasets.camvid import DENSE_DRIVE, TRAIN_DRIVES, CamVid
from src.data.datasets.cityscapes import Cityscapes
from src.data.datasets.folder import FolderClips
from src.data.datasets.kitti_step import KittiStep
from src.data.datasets.middlebury import Middlebury
from src.data.datasets.unlabelled_frames import UnlabelledVideos
from src.data.datasets.vipseg import VIPSeg
from src.data.datasets.vspw import VSPW
from src.data.integrity.check import check_splits
from src.data.pairs.sampling import UniformSampling
from src.data.pairs.transforms import RandomCrop
from src.data.shards.path import ShardPath, dataset_root
from src.data.synthetic.moving_scenes import MovingScenes
from src.files.images.readers import CorruptFileError
from tests.data.datasets.test_cityscapes import write_snippet
from tests.data.datasets.test_kitti_step import write_kitti
from tests.data.datasets.test_middlebury import write_scene
from tests.data.datasets.test_vipseg import write_vipseg
from tests.data.fake_layouts import label, write_image, write_label, write_vspw
from tests.data.sharding import range_server, shard

VIDEOS = {"a": [f"{i:03d}" for i in range(8)], "b_10": ["9", "10", "11"]}


def camvid(root: Path) -> None:
    frames = {drive: range(30, 330, 30) for drive in TRAIN_DRIVES} | {DENSE_DRIVE: [7959, 7961]}
    rows = [(drive, n, f"{drive}/image/{n}.jpg", f"{drive}/label/{n}.png") for drive, numbers in frames.items() for n in numbers]
    for _, number, image, png in rows:
        write_image(root / image, value=number % 256)
        write_label(root / png, label(0, 10, 11))
    (root / "index.csv").write_text(
        "\n".join(",".join(map(str, row)) for row in (("sequence", "frame", "image", "label"), *rows))
    )
    (root / "classes.txt").write_text("".join(f"{k} name{k}\n" for k in range(12)))


def folder(root: Path) -> None:
    (root / "classes.yaml").parent.mkdir(parents=True)
    (root / "classes.yaml").write_text("fps: 10\nclasses: [road, {name: car, value: [7, 1000]}]")
    for number in (2, 10, 11):
        write_image(root / f"frames/drive/f_{number}.jpg", value=number)
    write_label(root / "masks/drive/f_10.png", label(0, 7, 255))


def middlebury(root: Path) -> None:
    for number, scene in enumerate(("Grove2", "Venus")):
        write_scene(root / "other-data" / scene, root / "other-gt-flow" / scene, number)


scenes = partial(MovingScenes, split="train", num_clips=1, num_frames=3, size=(32, 48))
DATASETS: dict[str, tuple[Callable, Callable[[Path], ClipDataset]]] = {
    "vspw": (partial(write_vspw, videos=VIDEOS, names={"others": 0} | {f"n{k}": k for k in range(1, 9)}),
             partial(VSPW, split="train", num_classes=8)),
    "vipseg": (write_vipseg, partial(VIPSeg, split="val")),
    "camvid": (camvid, partial(CamVid, split="train_part")),
    "cityscapes": (partial(write_snippet, frames=range(10, 20), labelled=15), partial(Cityscapes, split="train")),
    "kitti_step": (partial(write_kitti, images="training/image_02"), partial(KittiStep, split="all")),
    "folder": (folder, FolderClips),
    "unlabelled": (partial(write_vspw, videos=VIDEOS),
                   lambda root: UnlabelledVideos(root, "a/origin")),
    "middlebury": (middlebury, Middlebury),
    "moving_scenes": (scenes, scenes),
}  # fmt: skip


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_reads_equal_samples_from_shards(name: str, tmp_path: Path) -> None:
    write, read = DATASETS[name]
    write(tmp_path / "plain")
    plain, sharded = read(tmp_path / "plain"), read(shard(tmp_path / "plain", tmp_path / "shards", 5000))
    assert (sharded.classes, sharded.chosen_colors, sharded.fps) == (plain.classes, plain.chosen_colors, plain.fps)
    assert [(clip.name, clip.labelled_frames) for clip in sharded.clips] == [(c.name, c.labelled_frames) for c in plain.clips]
    for number, clip in enumerate(plain.clips):
        for frame in range(len(clip)):
            image = sharded.clips[number].images[frame]
            assert isinstance(image, ShardPath) and image.name == clip.images[frame].name
            assert torch.equal(sharded.read_image(number, frame), plain.read_image(number, frame))
            if clip.labels[frame] is not None:
                assert torch.equal(sharded.read_label(number, frame), plain.read_label(number, frame))
            one, other = (data.read_flow(number, frame, len(clip) - 1) for data in (plain, sharded))
            assert (one is None and other is None) or torch.equal(one.nan_to_num(7), other.nan_to_num(7))


def batches(root: Path | str, rank: int, world: int, workers: int, samples: int = 12) -> list[torch.Tensor]:
    data = VSPW(root, "train", num_classes=8)
    module = PairDataModule(
        data, data, UniformSampling(4), UniformSampling(4), RandomCrop((8, 8)), None, batch_size=2, num_workers=workers,
        max_steps=samples // 2 // world, val_samples=2, seed=3,
    )  # fmt: skip
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world, global_step=0, accumulate_grad_batches=1)
    return [
        torch.cat((b.key_image.flatten(), b.nonkey_image.flatten(), b.nonkey_label.flatten())) for b in module.train_dataloader()
    ]


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (1, 2), (3, 1)])
def test_batches_are_bit_equal_over_http_for_any_number_of_ranks_and_workers(tmp_path: Path, world: int, workers: int) -> None:
    write_vspw(tmp_path / "plain", VIDEOS)
    single = batches(tmp_path / "plain", 0, 1, 0)
    with range_server(shard(tmp_path / "plain", tmp_path / "shards", 5000)) as server:
        ranks = [batches(server.url, rank, world, workers) for rank in range(world)]
    together = [ranks[number % world][number // world] for number in range(len(single))]
    assert len(single) == 6 and all(map(torch.equal, single, together))
    assert not torch.equal(single[0], single[1])


def test_pickled_paths_do_not_carry_the_index(tmp_path: Path) -> None:
    write_vspw(tmp_path / "plain", VIDEOS)
    data = VSPW(shard(tmp_path / "plain", tmp_path / "shards"), "train", num_classes=8)
    path = data.clips[0].images[0]
    assert len(pickle.dumps(path)) < 500 and pickle.loads(pickle.dumps(path)) == path
    (report,) = check_splits({"train": data}, workers=0).values()
    assert (report.frames, report.labelled, report.issues) == (11, 11, [])


def test_a_damaged_member_is_a_damaged_image(tmp_path: Path) -> None:
    write_vspw(tmp_path / "plain", VIDEOS)
    root = shard(tmp_path / "plain", tmp_path / "shards")
    data = VSPW(root, "train", num_classes=8)
    member = data.root.shards.index.find("data/a/origin/003.jpg")
    with (root / "shard_000000.tar").open("r+b") as tar:
        tar.seek(member.offset + 40)
        tar.write(b"\0\1\2")
    with pytest.raises(CorruptFileError, match=r"shards/data/a/origin/003\.jpg: checksum"):
        data.read_image(0, 3)


def test_an_exclusion_list_applies_to_shards(tmp_path: Path) -> None:
    write_vspw(tmp_path / "plain", VIDEOS)
    (tmp_path / "exclude.json").write_text('{"files": ["data/a/origin/003.jpg"], "videos": ["b_10"]}')
    (clip,) = VSPW(shard(tmp_path / "plain", tmp_path / "shards"), "train", 8, exclude=tmp_path / "exclude.json").clips
    assert (clip.name, len(clip)) == ("a", 7)


def test_a_path_lacks_what_shards_lack(tmp_path: Path) -> None:
    write_vspw(tmp_path / "plain", VIDEOS)
    root = dataset_root(shard(tmp_path / "plain", tmp_path / "shards"))
    origin = root / "data" / "a" / "origin"
    assert str(origin / "000.jpg") == f"{tmp_path}/shards/data/a/origin/000.jpg" and origin.parent.name == "a"
    assert (origin / "000.jpg").relative_to(root).as_posix() == "data/a/origin/000.jpg"
    assert (origin / ".." / "mask").is_dir() is False and not (root / "/etc").exists()
    assert [path.name for path in sorted(root.glob("data/*/origin/*0.jpg"))] == ["000.jpg", "10.jpg"]
    assert origin.is_dir() and not origin.is_file() and (origin / "000.jpg").stat().st_size > 100
    for call in (lambda: origin.open("wb"), lambda: (root / "new").mkdir(parents=True, exist_ok=True)):
        with pytest.raises(OSError, match="shards are read-only"):
            call()
    with pytest.raises(TypeError):
        Path(origin / "000.jpg")
    with pytest.raises(FileNotFoundError, match="not in the shards"):
        (root / "nothing").iterdir()
    empty = shard(write_empty(tmp_path / "other"), tmp_path / "empty")
    before = {path: path.read_bytes() for path in empty.iterdir()}
    with pytest.raises(ValueError, match=r"empty: these shards lack split 'train' with .*'num_clips': 60.*; expected it, or"):
        MovingScenes(empty, "train")
    assert {path: path.read_bytes() for path in empty.iterdir()} == before


def test_every_setting_of_generated_scenes_is_read_from_shards(tmp_path: Path) -> None:
    for seed in (0, 7):
        scenes(tmp_path / "plain", seed=seed)
    shard(tmp_path / "plain", tmp_path / "shards")
    for seed in (0, 7):
        plain, sharded = (scenes(tmp_path / name, seed=seed) for name in ("plain", "shards"))
        assert isinstance(sharded.clips[0].images[0], ShardPath) and sharded.root.name == ("" if seed == 0 else plain.root.name)
        assert torch.equal(sharded.read_image(0, 1), plain.read_image(0, 1))
        assert torch.equal(sharded.read_flow(0, 2, 0).nan_to_num(7), plain.read_flow(0, 2, 0).nan_to_num(7))


def write_empty(root: Path) -> Path:
    root.mkdir()
    (root / "readme.txt").write_text("nothing here yet")
    return root


def test_a_folder_of_files_stays_a_path(tmp_path: Path) -> None:
    assert dataset_root(tmp_path) == dataset_root(str(tmp_path)) == tmp_path
    assert dataset_root("relative/folder") == Path("relative/folder")
