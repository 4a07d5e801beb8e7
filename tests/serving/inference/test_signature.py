"""Signed bundles: what is served with TANDEM_VERIFY_KEY, and what is refused."""

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from models.errors import InputError
from models.manifest import signature_file
from pipelines.artifacts import signature as signing
from serving.inference import champion, retry
from serving.inference.reloader import Reloader
from serving.settings import Settings
from tests.serving.bundles import DIGITS, PEM, weights, write, write_keys


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the keys `private` and `public`, of which TANDEM_SIGNING_KEY names the first."""
    write_keys(tmp_path, "private", "public")
    monkeypatch.setenv("TANDEM_SIGNING_KEY", str(tmp_path / "private"))
    return tmp_path


@pytest.fixture
def signed(digits: Path, keys: Path) -> Path:
    """A signed champion for 8x8 digits."""
    sign(digits)
    return digits


def sign(folder: Path) -> None:
    function = signing.signer()
    assert function
    function(folder)


def load(folder: Path, key: Path) -> str:
    return champion.load(folder, "cpu", verify_key=key).version


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_model(folder: Path) -> None:
    """Flip a bit of the model, and name the changed model in champion.json, whose signature is renamed."""
    model, manifest = next(folder.glob("*.onnx")), folder / "champion.json"
    flip_a_bit(model)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    model.rename(folder / f"{sha256}.onnx")
    change_manifest(folder, lambda text: text.replace(model.stem, sha256))
    assert json.loads(manifest.read_text())["model"]["sha256"] == sha256


def change_manifest(folder: Path, change: Callable[[str], str]) -> None:
    """Change champion.json, and rename the signature so that it is found."""
    manifest = folder / "champion.json"
    before = manifest.read_bytes()
    manifest.write_text(change(manifest.read_text()))
    (folder / signature_file(before)).rename(folder / signature_file(manifest.read_bytes()))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit of the model": (lambda folder: flip_a_bit(next(folder.glob("*.onnx"))), "SHA-256 is"),
    "bit of the signature": (lambda folder: flip_a_bit(next(folder.glob("*.sig"))), "signature is not valid"),
    "model and its hash": (change_model, "signature is not valid"),
    "label": (
        lambda folder: change_manifest(folder, lambda text: text.replace('"labels": ["0"', '"labels": ["8x"')),
        "signature is not valid",
    ),
    "manifest": (lambda folder: flip_a_bit(folder / "champion.json"), "champion.json|not signed"),
    "no signature": (
        lambda folder: next(folder.glob("*.sig")).unlink(),
        "not signed, which TANDEM_VERIFY_KEY",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_signed_bundle_is_loaded_and_a_changed_one_is_refused(signed: Path, keys: Path, name: str) -> None:
    assert load(signed, keys / "public") == "1"
    change, message = CHANGES[name]
    change(signed)
    with pytest.raises(InputError, match=message) as caught:
        load(signed, keys / "public")
    assert "\n" not in str(caught.value)


def test_a_signature_by_another_key_is_refused(signed: Path, keys: Path) -> None:
    write_keys(keys, "other private", "other public")
    with pytest.raises(InputError, match=r"signature is not valid for .*other public"):
        load(signed, keys / "other public")


def test_the_signature_of_another_bundle_is_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", weights(DIGITS, 2), "2")
    shutil.copy(next(signed.glob("*.sig")), other / signature_file((other / "champion.json").read_bytes()))
    with pytest.raises(InputError, match="signature is not valid"):
        load(other, keys / "public")


def test_a_running_service_keeps_its_champion_until_one_with_a_signature_comes(signed: Path, keys: Path) -> None:
    results: list[str] = []
    settings = Settings(champion=signed, device="cpu", verify_key=keys / "public")
    reloader = Reloader(settings, lambda result, now, _: results.append(f"{result} {now.version}"))
    write(signed, weights(DIGITS, 2), "2")
    asyncio.run(reloader.poll())
    assert reloader.champion.version == "1"
    (signed / next(path for path in signed.glob("*.onnx") if path.stem not in manifest(signed))).unlink()
    next(signed.glob("*.sig")).unlink()
    sign(signed)
    asyncio.run(reloader.poll())
    assert results == ["loaded 1", "refused 1", "swapped 2"]


def test_a_key_that_could_not_be_read_is_tried_again(signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0)
    reloader = Reloader(Settings(champion=signed, device="cpu", verify_key=keys / "public"), lambda *_: None)
    (keys / "public").rename(keys / "moved")
    write(signed, weights(DIGITS, 2), "2")
    (signed / next(path for path in signed.glob("*.onnx") if path.stem not in manifest(signed))).unlink()
    next(signed.glob("*.sig")).unlink()
    sign(signed)
    asyncio.run(reloader.poll())
    assert reloader.champion.version == "1"
    (keys / "moved").rename(keys / "public")
    asyncio.run(reloader.poll())
    assert reloader.champion.version == "2"


def manifest(folder: Path) -> str:
    return (folder / "champion.json").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "TANDEM_VERIFY_KEY: .*public: not a public key"), (b"text", "not a public key of an elliptic curve, PEM")],
)
def test_a_key_that_cannot_be_used(signed: Path, keys: Path, content: bytes | None, message: str) -> None:
    (keys / "public").unlink()
    if content:
        (keys / "public").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(signed, keys / "public")


def test_a_private_key_that_cannot_be_used(keys: Path) -> None:
    encoding = PEM, serialization.PrivateFormat.PKCS8
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        *encoding, serialization.BestAvailableEncryption(b"secret")
    )
    other = rsa.generate_private_key(65537, 2048).private_bytes(*encoding, serialization.NoEncryption())
    for content in (b"text", encrypted, other):
        (keys / "private").write_bytes(content)
        with pytest.raises(InputError, match=r"TANDEM_SIGNING_KEY: .*private: not a private key of an elliptic curve"):
            signing.signer()


def test_the_missing_package_is_named(signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(InputError, match="TANDEM_VERIFY_KEY: model-signing is not installed; use `uv run --extra"):
        load(signed, keys / "public")
    with pytest.raises(InputError, match="TANDEM_SIGNING_KEY: model-signing is not installed"):
        signing.signer()
    assert champion.load(signed, "cpu").version == "1"  # not needed without a key
