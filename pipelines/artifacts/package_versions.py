"""Versions of the packages that a trained and exported file depends on."""

from importlib import metadata

from models.config import Framework

PACKAGES: dict[Framework, tuple[str, ...]] = {
    "torch": ("numpy", "torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime"),
    "keras": ("numpy", "keras", "tensorflow", "onnx", "tf2onnx", "onnxruntime-gpu", "onnxruntime"),
}


def installed(framework: Framework) -> dict[str, str]:
    """The installed versions by package, without those that are not installed."""
    versions = {name: _version(name) for name in PACKAGES[framework]}
    return {name: version for name, version in versions.items() if version}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
