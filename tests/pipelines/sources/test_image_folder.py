"""User-provided images: decoded as by the service, skipped, left out and rejected."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.images import image
from pipelines.artifacts import paths, raw_data
from pipelines.artifacts.raw_data import RawData
from pipelines.load import __main__ as load
from pipelines.prepare import __main__ as prepare
from pipelines.sources import image_folder
from pipelines.sources.pictures import decoding
from tests.models.hostile_images import HOSTILE
from tests.pipelines.sources import sample_images as own
from tests.pipelines.workspace import assert_one_error_line, data, run_stage, write_params

SIZE = (16, 12)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images; the working directory is a different one beside it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return own.write(tmp_path / "pictures")


def read(root: Path, **given: object) -> RawData:
    return image_folder.load(data("image_folder", **{"path": str(root), "size": SIZE} | given))


def files(root: Path) -> list[Path]:
    return [path for label in sorted(own.COLOURS) for path in sorted((root / label).iterdir())]


@pytest.mark.parametrize(("channels", "expected"), [(None, 3), (3, 3), (1, 1)])
def test_every_image_is_decoded_as_by_the_service(root: Path, channels: int | None, expected: int) -> None:
    raw = read(root, channels=channels)
    shape = (*SIZE, expected)
    assert raw.train_inputs.shape == (len(files(root)), *shape)
    assert raw.train_inputs.dtype == np.uint8
    assert isinstance(raw.train_inputs, np.memmap)
    for pixels, path in zip(raw.train_inputs, files(root), strict=True):
        np.testing.assert_array_equal(pixels, image.decode(path.read_bytes(), shape), str(path))


def test_classes_are_the_folders_in_the_order_of_their_names(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = read(root)
    assert (raw.name, raw.labels, raw.test_inputs) == ("pictures", ("blue", "green", "red"), None)
    assert raw.train_targets.dtype == np.int64
    assert raw.train_targets.tolist() == [0] * 18 + [1] * 18 + [2] * 18
    assert f"{root}: blue 18, green 18, red 18" in capsys.readouterr().out


def test_small_groups_and_one_thread_give_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.array(read(root).train_inputs)
    monkeypatch.setattr(decoding.npy, "CHUNK", 1)
    monkeypatch.setattr(decoding.joblib, "cpu_count", lambda: 1)
    np.testing.assert_array_equal(read(root).train_inputs, expected)


def test_system_files_are_skipped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = np.array(read(root).train_inputs)
    own.add_system_files(root)
    np.testing.assert_array_equal(read(root).train_inputs, expected)
    assert "note: 1 files do not have the suffix of an image, the first is 'red/notes.txt'" in capsys.readouterr().out


def test_an_official_split_is_kept(root: Path, tmp_path: Path) -> None:
    whole = read(root)
    (tmp_path / "split").mkdir()
    shutil.copytree(root, tmp_path / "split" / "test")
    root.rename(tmp_path / "split" / "train")
    raw = read(tmp_path / "split")
    assert raw.name == "split"
    assert raw.test_inputs is not None
    for found in (raw.train_inputs, raw.test_inputs):
        np.testing.assert_array_equal(found, whole.train_inputs)


def test_classes_may_be_called_train_and_test(root: Path) -> None:
    shutil.rmtree(root / "red")
    (root / "blue").rename(root / "train")
    (root / "green").rename(root / "test")
    assert read(root).labels == ("test", "train")


def test_unreadable_files_are_left_out_up_to_the_share(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = np.array(read(root).train_inputs)
    names = own.add_unreadable(root)
    raw = read(root, unreadable=0.2)
    np.testing.assert_array_equal(raw.train_inputs, expected)
    assert raw.train_targets.tolist() == [0] * 18 + [1] * 18 + [2] * 18
    assert [line.split(":")[0].strip("'") for line in raw.unreadable] == names
    output = capsys.readouterr().out
    words = ("found text", "damaged", "5000 x 4000 pixels", "no bytes at all", "leads nowhere", "nowhere", "not a file")
    for line, word in zip(raw.unreadable, words, strict=True):
        assert word in line
        assert f"unreadable: {line}" in output
    assert "left out 7 of 61 files" in output


def test_hostile_files_are_left_out_by_the_limits_of_the_service(root: Path) -> None:
    for name, (make, _) in HOSTILE.items():
        (root / "red" / f"{name}.png").write_bytes(make())
    started = time.process_time()
    raw = read(root, unreadable=0.5)
    assert time.process_time() - started < 5
    assert [line.split(".png")[0].removeprefix("'red/") for line in raw.unreadable] == sorted(
        name for name, (_, reason) in HOSTILE.items() if reason
    )
    for line in raw.unreadable:
        _, reason = HOSTILE[line.split(".png")[0].removeprefix("'red/")]
        assert re.search(reason, line), line


@pytest.mark.parametrize("share", [None, 0.0, 0.01, 0.1])
def test_more_than_that_share_is_refused(root: Path, share: float | None) -> None:
    own.add_unreadable(root)
    words = (
        r"data\.unreadable = .*: 7 of 61 files cannot be read, more than the permitted [06]; "
        "remove these files, or raise data.unreadable, which leaves them out; the first is 'blue/te"
    )
    with pytest.raises(InputError, match=words):
        read(root, unreadable=share)


def test_a_file_larger_than_any_image_is_not_read(root: Path) -> None:
    with (root / "red" / "huge.bmp").open("wb") as file:
        file.truncate(decoding.MAX_BYTES + 1)  # takes no room on the disk
    assert "268435457 bytes; allowed" in read(root, unreadable=0.1).unreadable[0]


def test_the_largest_image_is_set_by_a_parameter(root: Path) -> None:
    for label, size in (("blue", (6000, 4000)), ("red", (700, 600))):
        Image.new("RGB", size, own.COLOURS[label]).save(root / label / "large.jpg")
    words = "blue/large.jpg': .* 6000 x 4000 pixels; allowed: at most 16000000, set by data.max_pixels"
    with pytest.raises(InputError, match=words):
        read(root)
    assert len(read(root, max_pixels=24_000_000).train_inputs) == len(files(root))
    assert len(read(root, max_pixels=700 * 600 - 1, unreadable=0.1).unreadable) == 2


def test_images_outside_of_class_folders_are_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("new2.jpg", "new1.png"):
        (root / name).write_bytes((root / "red" / "plain-0.png").read_bytes())
    read(root)
    assert "note: 2 images outside of class folders are not read, the first is 'new1.png'" in capsys.readouterr().out


def test_images_beside_train_and_test_are_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root, root.parent / "split" / "test")
    root.rename(root.parent / "split" / "train")
    for folder in ("", "train", "test"):
        (root.parent / "split" / folder / "new.png").touch()
    read(root.parent / "split")
    output = capsys.readouterr().out
    assert "note: 2 images outside of class folders are not read, the first is 'new.png'" in output
    assert "note: 1 images outside of class folders are not read, the first is 'test/new.png'" in output


def test_a_class_may_have_the_suffix_of_an_image(root: Path) -> None:
    (root / "red").rename(root / "a.png")
    assert read(root).labels == ("a.png", "blue", "green")


def only_one_class(root: Path) -> None:
    shutil.rmtree(root / "red")
    shutil.rmtree(root / "green")


def no_classes(root: Path) -> None:
    only_one_class(root)
    (root / "blue" / "plain-0.png").rename(root / "a.png")
    shutil.rmtree(root / "blue")


def empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def a_class_without_pictures(root: Path) -> None:
    (root / "yellow").mkdir()
    (root / "yellow" / "a.gif").touch()


def nested(root: Path) -> None:
    (root / "red" / "more").mkdir()


def a_loop(root: Path) -> None:
    (root / "red" / "again").symlink_to(root)


def a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.touch()


def a_name_with_a_line_break(root: Path) -> None:
    (root / "red").rename(root / "r\ned")


def a_third_split(root: Path) -> None:
    for name in ("train", "test", "val"):
        shutil.copytree(root / "red", root / name / "red")
    for label in own.COLOURS:
        shutil.rmtree(root / label)


def other_classes_in_the_test_split(root: Path) -> None:
    for label in own.COLOURS:
        shutil.copytree(root / label, root / "train" / label)
        (root / label).rename(root / f"moved-{label}") if label == "red" else shutil.rmtree(root / label)
    shutil.copytree(root / "train", root / "test")
    shutil.rmtree(root / "moved-red")
    shutil.rmtree(root / "test" / "red")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (shutil.rmtree, r"data\.path = .*: no such folder; allowed: a folder for each class"),
        (a_file, r"data\.path = .*: no such folder"),
        (empty, "no class folder and 0 images beside them; allowed: a folder for each class"),
        (no_classes, "no class folder and 1 images beside them"),
        (only_one_class, "only the class 'blue'; .* two classes or more"),
        (a_class_without_pictures, r"yellow: no image in it; allowed: \.png"),
        (nested, "red/more: a folder inside a class"),
        (a_loop, "red/again: a folder inside a class"),
        (a_name_with_a_line_break, r"r\\ned'?: not a valid class name"),
        (a_third_split, "val: a folder next to train/ and test/; allowed: only these two"),
        (other_classes_in_the_test_split, "class 'red' is in one of train/ and test/ only; allowed: in both"),
    ],
)
def test_other_folder_layouts_are_rejected(root: Path, harm: Callable[[Path], None], words: str) -> None:
    harm(root)
    with pytest.raises(InputError, match=words) as caught:
        read(root)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=words):
        image_folder.find(data("image_folder", path=str(root), size=SIZE))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"path": "data"}, r"data\.path = 'data': no such folder; allowed: a folder for each class"),
        ({"size": None}, r"data\.size = null: image_folder needs it; allowed: \[height, width\]"),
        ({"mirrors": ("http://127.0.0.1:9",)}, r"data\.mirrors = .*: image_folder does not use it; allowed: \[\]"),
    ],
)
def test_missing_and_unused_parameters_are_rejected(root: Path, given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(root, **given)


def test_a_folder_that_cannot_be_read_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read anything
    with pytest.raises(InputError, match="pictures: Permission denied; allowed: a folder that can be read"):
        read(root)


def test_classes_that_differ_in_case_are_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "red", root / "Red")
    assert read(root).labels == ("Red", "blue", "green", "red")
    assert "warning: the classes Red, red differ only in case" in capsys.readouterr().out


def test_from_folder_to_splits(root: Path) -> None:
    own.add_unreadable(root)
    changes = {"data.source": "image_folder", "data.path": str(root), "data.size": [8, 8], "data.unreadable": 0.2}
    write_params(Path.cwd(), changes)
    load.main()
    assert {path.name for path in paths.RAW.iterdir()} == {
        *("train_inputs.npy", "train_targets.npy", "meta.json", "unreadable.txt")
    }
    assert len((paths.RAW / "unreadable.txt").read_text("utf-8").splitlines()) == 7
    assert [path.name for path in paths.DATA.iterdir()] == ["raw"]
    first = raw_data.read(paths.RAW).train_inputs.tobytes()
    load.main()
    assert raw_data.read(paths.RAW).train_inputs.tobytes() == first
    prepare.main()
    spec = prepare.DataSpec.read(paths.SPEC)
    assert (spec.name, spec.labels, spec.shape) == ("pictures", ("blue", "green", "red"), (8, 8, 3))


def test_a_mistake_is_one_line(root: Path) -> None:
    own.add_unreadable(root)
    write_params(Path.cwd(), {"data.source": "image_folder", "data.path": str(root), "data.size": [8, 8]})
    assert_one_error_line(run_stage("load", Path.cwd()), "data.unreadable = 0", "7 of 61 files")
