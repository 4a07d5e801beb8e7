"""Show an exported file in Netron: `python -m pipelines.inspect torch-cnn --file model.onnx`.

Serves Netron's page on the loopback interface until Ctrl-C and prints its address. The command itself makes no network
request; Netron's page does when it is opened.
"""

import argparse
import logging
from contextlib import suppress
from pathlib import Path

import netron

from models.errors import InputError
from models.export_formats import ONNX
from pipelines.artifacts import paths, records
from pipelines.execution import stage

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Serve the file named on the command line. Raises InputError if it does not exist."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.inspect", description=__doc__)
    parser.add_argument("candidate", help="such as torch-cnn")
    parser.add_argument("--file", default=ONNX, help=f"one of its exported files; default: {ONNX}")
    arguments = parser.parse_args()
    file = find(arguments.candidate, arguments.file)
    logging.getLogger("netron").setLevel(logging.WARNING)  # it logs the address as well
    host, port = netron.start(str(netron_file(file)), (LOOPBACK, None), browse=False)
    with suppress(KeyboardInterrupt):  # it may be raised before Netron handles it
        print(f"{file}: http://{host}:{port} (Ctrl-C ends)", flush=True)
        netron.wait()


def find(candidate: str, name: str) -> Path:
    """The path of an exported file. Raises InputError, with the existing ones, if it does not exist."""
    folder = paths.exports(candidate)
    candidates = sorted(path.parent.name for path in folder.parent.glob(f"*/{records.PARITY}"))
    if candidate not in candidates:
        raise InputError(f"candidate '{candidate}' is not in {folder.parent}; allowed: {_listed(candidates)}")
    files = sorted(records.parity(candidate)["files"])
    if name not in files:
        raise InputError(f"file '{name}' is not in {folder}; allowed: {_listed(files)}")
    return folder / name


def netron_file(file: Path) -> Path:
    """The file to open: for a SavedModel, the graph in its folder."""
    return file / "saved_model.pb" if file.is_dir() else file


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none before `dvc repro`"


if __name__ == "__main__":
    stage.run(main)
