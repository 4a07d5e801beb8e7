import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.config.sources import SOURCES
from pipelines.sources import by_name, cifar10, fashion_mnist, mnist
from pipelines.sources.built_in import digits
from pipelines.sources.published import idx, pinned
from pipelines.sources.published.locate import cache_folder
from pipelines.sources.published.pinned import PinnedFile
from tests.pipelines import workspace


def data(source: str, path: Path | None = None, **given: object) -> DataSource:
    return workspace.data(source, **given if path is None else {"path": str(path), **given})


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def pin(name: str, content: bytes) -> PinnedFile:
    return PinnedFile(name, len(content), hashlib.sha256(content).hexdigest(), gzipped=True)


@pytest.fixture
def content() -> dict[str, bytes]:
    """The unpacked files of a tiny set: 6 training and 4 test images of 5x4."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte.gz": random.integers(0, 256, (6, 5, 4), np.uint8),
        "train-labels-idx1-ubyte.gz": np.arange(6, dtype=np.uint8) % 2,
        "t10k-images-idx3-ubyte.gz": random.integers(0, 256, (4, 5, 4), np.uint8),
        "t10k-labels-idx1-ubyte.gz": np.arange(4, dtype=np.uint8) % 2,
    }
    return {name: idx_bytes(array) for name, array in arrays.items()}


@pytest.fixture
def tiny_mnist(content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny set, pinned in place of the published one; an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = tuple(pin(name, body) for name, body in content.items())
    monkeypatch.setattr(mnist, "load", partial(mnist.load, parts=parts, mirrors=("http://127.0.0.1:9",)))
    folder = tmp_path / "given"
    folder.mkdir()
    for name, body in content.items():
        (folder / name).write_bytes(gzip.compress(body))
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_that_params_allow_has_its_file(name: str) -> None:
    assert callable(by_name.module(data(name)).load)


def test_digits_use_the_whole_range_of_uint8() -> None:
    raw = digits.load(data("digits"))
    assert raw.train_inputs.shape == (1797, *SOURCES["digits"][2])
    assert raw.train_inputs.dtype == np.uint8
    assert (raw.train_inputs.min(), raw.train_inputs.max()) == (0, 255)
    assert len(np.unique(raw.train_inputs)) == 17
    assert raw.train_targets.dtype == np.int64
    assert raw.train_targets[:4].tolist() == [0, 1, 2, 3]
    assert raw.test_inputs is None


def test_digits_have_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path = .*allowed: data"):
        digits.load(data("digits", tmp_path))


@pytest.mark.parametrize("source", ["digits", "mnist", "fashion_mnist", "cifar10"])
@pytest.mark.parametrize("given", [{"size": (8, 8)}, {"channels": 3}, {"max_pixels": 9}, {"unreadable": 0.1}])
def test_a_parameter_that_a_source_does_not_use_is_refused(source: str, given: dict[str, object]) -> None:
    (name,) = given
    with pytest.raises(InputError, match=rf"data\.{name} = .*: {source} does not use it; allowed: null"):
        by_name.module(data(source)).load(data(source, **given))


@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_packs_it() -> None:
    raw = fashion_mnist.load(data("fashion_mnist", fashion_mnist.DEBIAN))
    assert raw.train_inputs.shape == (60_000, *SOURCES["fashion_mnist"][2])
    assert raw.train_targets[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert raw.test_inputs is not None
    assert raw.test_inputs.shape == (10_000, 28, 28, 1)
    assert np.bincount(raw.train_targets).tolist() == [6000] * 10


def test_an_idx_set_is_read_from_the_given_folder(tiny_mnist: Path, content: dict[str, bytes]) -> None:
    raw = mnist.load(data("mnist", tiny_mnist))
    assert raw.train_inputs.shape == (6, 5, 4, 1)
    assert raw.train_inputs.tobytes() == content["train-images-idx3-ubyte.gz"][16:]
    assert raw.train_targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert raw.test_targets is not None
    assert raw.test_targets.dtype == np.int64
    assert raw.origin == str(tiny_mnist)


def test_unpacked_files_are_the_same_files(tiny_mnist: Path, content: dict[str, bytes]) -> None:
    expected = mnist.load(data("mnist", tiny_mnist))
    for name, body in content.items():
        (tiny_mnist / name).unlink()
        (tiny_mnist / name.removesuffix(".gz")).write_bytes(body)
    np.testing.assert_array_equal(mnist.load(data("mnist", tiny_mnist)).train_inputs, expected.train_inputs)


def test_the_cache_is_used_where_no_folder_is_given(tiny_mnist: Path) -> None:
    cache = cache_folder("mnist")
    cache.parent.mkdir(parents=True)
    tiny_mnist.rename(cache)
    assert mnist.load(data("mnist")).origin == str(cache)


def test_a_given_folder_is_never_replaced_by_another_place(tiny_mnist: Path, tmp_path: Path) -> None:
    cache = cache_folder("mnist")
    cache.parent.mkdir(parents=True)
    tiny_mnist.rename(cache)
    with pytest.raises(InputError, match=r"data\.path = .*no such folder; allowed: a folder that holds train-images"):
        mnist.load(data("mnist", tiny_mnist))
    tiny_mnist.mkdir()
    with pytest.raises(InputError, match=r"data\.path = .*lacks train-images-idx3-ubyte\.gz"):
        mnist.load(data("mnist", tiny_mnist))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12])


def spoil(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[20:30] = bytes(10)
    path.write_bytes(body)


def change(path: Path) -> None:
    body = bytearray(gzip.decompress(path.read_bytes()))
    body[-1] ^= 1
    path.write_bytes(gzip.compress(body))


def lengthen(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 20)))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, "broken gzip data"),
        (spoil, "broken gzip data|wrong checksum|bytes of content"),
        (change, "wrong checksum: SHA-256 .*; allowed: "),
        (lengthen, "more than 136 bytes of content; allowed: 136"),
        (empty, "0 bytes of content; allowed: 136"),
    ],
)
def test_a_broken_file_is_refused_by_name(tiny_mnist: Path, harm: Callable[[Path], None], words: str) -> None:
    harm(tiny_mnist / "train-images-idx3-ubyte.gz")
    with pytest.raises(InputError, match=rf"train-images-idx3-ubyte\.gz: ({words})") as caught:
        mnist.load(data("mnist", tiny_mnist))
    assert "\n" not in str(caught.value)


def test_no_more_is_unpacked_than_the_file_should_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "BLOCK", 1000)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(50_000_000)))
    taken = []
    with pytest.raises(InputError, match="more than 5000 bytes"):
        taken += list(pinned._blocks(bomb, PinnedFile("bomb.gz", 5000, "", gzipped=True)))
    assert sum(map(len, taken)) <= 6000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>not found</html>", r"starts with \[60, 104, 116, 109\]; allowed: \[0, 0, 8, 3\]"),
        (b"", r"starts with \[\]"),
        (bytes([0, 0, 13, 3]) + bytes(12), r"starts with \[0, 0, 13, 3\]"),
        (idx_bytes(np.zeros(7, np.uint8)), r"starts with \[0, 0, 8, 1\]"),
        (idx_bytes(np.zeros((2, 3, 3), np.uint8))[:-1], r"17 values for axes \(2, 3, 3\); allowed: 18"),
        (idx_bytes(np.zeros((2, 3, 3), np.uint8)) + b"x", r"19 values for axes \(2, 3, 3\); allowed: 18"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, r"0 values for axes \(4294967295, 4294967295, 4294967295\)"),
        (bytes([0, 0, 8, 3]) + bytes(5), r"ends in its header after 9 bytes; allowed: 16"),
    ],
)
def test_idx_with_another_head_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        idx.parse(np.frombuffer(body, np.uint8), Path("train-images-idx3-ubyte.gz"))


def cifar_records(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 10, (cifar10.RECORDS, cifar10.RECORD)).astype(np.uint8)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The content of the archive, with 3 images in each file instead of 10,000."""
    monkeypatch.setattr(cifar10, "RECORDS", 3)
    return {name: cifar_records(seed) for seed, name in enumerate((*cifar10.TRAIN, cifar10.TEST))}


def write_archive(folder: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    body = path.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    monkeypatch.setattr(cifar10, "ARCHIVE", PinnedFile(path.name, len(body), sha256, gzipped=False))
    return path


def test_cifar10_is_read_in_the_order_of_its_batches(
    small_batches: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = dict(reversed([(name, batch.tobytes()) for name, batch in small_batches.items()]))
    write_archive(tmp_path, {"../../escape.bin": b"x", **shuffled}, monkeypatch)
    raw = cifar10.load(data("cifar10", tmp_path))
    assert raw.train_inputs.shape == (15, *SOURCES["cifar10"][2])
    assert raw.test_inputs is not None
    assert raw.test_inputs.shape == (3, 32, 32, 3)
    second = small_batches[cifar10.TRAIN[1]]
    assert raw.train_targets[3:6].tolist() == second[:, 0].tolist()
    np.testing.assert_array_equal(raw.train_inputs[3, :, :, 2].reshape(-1), second[0, 1 + 2048 :])  # the blue plane
    assert [path.name for path in tmp_path.rglob("*")] == ["cifar-10-binary.tar.gz"]


def test_a_cifar10_archive_that_lacks_a_batch_is_refused(
    small_batches: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: batch.tobytes() for name, batch in small_batches.items()}
    del files[cifar10.TRAIN[2]]
    write_archive(tmp_path, files, monkeypatch)
    with pytest.raises(InputError, match=r"lacks cifar-10-batches-bin/data_batch_3\.bin"):
        cifar10.load(data("cifar10", tmp_path))
    write_archive(tmp_path, files | {cifar10.TRAIN[2]: b"short"}, monkeypatch)
    with pytest.raises(InputError, match=r"data_batch_3\.bin has 5 bytes; allowed: a file of 9219"):
        cifar10.load(data("cifar10", tmp_path))


def test_another_archive_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz: .*bytes of content; allowed: 170052171"):
        cifar10.load(data("cifar10", tmp_path))
