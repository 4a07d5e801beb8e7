"""Show an exported file in Netron, on this machine only: `python -m pipelines.inspect torch-cnn --file model.onnx`.

It prints an address and serves until Ctrl-C; it opens no page and calls nobody. Netron's page, once opened, does.
"""

import argparse
import logging
from contextlib import suppress
from pathlib import Path

import netron

from models.errors import InputError
from pipelines.artifacts import paths, records
from pipelines.cli import stage

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Serve the file that the command line names. Raises InputError where there is none."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.inspect", description=__doc__)
    parser.add_argument("candidate", help="such as torch-cnn")
    parser.add_argument("--file", default="model.onnx", help="one of its exported files (model.onnx)")
    given = parser.parse_args()
    file = find(given.candidate, given.file)
    logging.getLogger("netron").setLevel(logging.WARNING)  # it tells the address too, in other words
    host, port = netron.start(str(netron_file(file)), (LOOPBACK, None), browse=False)
    with suppress(KeyboardInterrupt):  # it may arrive before Netron waits for it
        print(f"{file}: http://{host}:{port} (Ctrl-C ends)", flush=True)
        netron.wait()


def find(candidate: str, name: str) -> Path:
    """An exported file. Raises InputError with what there is in its place."""
    folder = paths.exports(candidate)
    there = sorted(path.parent.name for path in folder.parent.glob("*/parity.json"))
    if candidate not in there:
        raise InputError(f"candidate '{candidate}' is not in {folder.parent}; allowed: {_listed(there)}")
    files = sorted(records.parity(candidate)["files"])
    if name not in files:
        raise InputError(f"file '{name}' is not in {folder}; allowed: {_listed(files)}")
    return folder / name


def netron_file(file: Path) -> Path:
    """What Netron opens: of a SavedModel the graph in its folder."""
    return file / "saved_model.pb" if file.is_dir() else file


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none before `dvc repro`"


if __name__ == "__main__":
    stage.run(main)
