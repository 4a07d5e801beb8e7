"""Data of the user, prepared and recorded by DVC."""

import csv
import json
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines.artifacts import paths
from pipelines.config import params
from pipelines.load import __main__ as load
from pipelines.prepare import __main__ as prepare
from pipelines.sweep import prepared, results
from pipelines.sweep.__main__ import main
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, write_params

PARAMETERS = {
    "data.source": "csv",
    "data.path": "houses.csv",
    "data.target": "sold",
    "sweep.trials": 2,
    "sweep.workers": 1,
    "sweep.parameters": {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
    "train.epochs": 2,
    "train.minimum_steps": 0,
    "train.device": "cpu",
}
# The stages of dvc.yaml, as far as they matter: what they depend on, and what they write.
GRAPH = """
stages:
  load:
    cmd: python -m pipelines.load
    params: [data, prepare.group, prepare.order]
    outs: [artifacts/data/raw]
  prepare:
    cmd: python -m pipelines.prepare
    params: [prepare]
    deps: [artifacts/data/raw]
    outs: [artifacts/data/spec.json]
"""
COMMAND = ("--framework", "torch", "--architecture", "mlp")


@pytest.fixture
def houses(tmp_path, monkeypatch):
    """A workspace with a table; the function writes it with this number of rows, and runs and records the stages."""
    synthetic.enter(tmp_path, monkeypatch, PARAMETERS)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    Path("dvc.yaml").write_text(GRAPH, "utf-8")
    Repo.init(no_scm=True).close()

    def run(rows, *recorded):
        with Path("houses.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("size", "sold"), *((n, "no" if n % 3 else "yes") for n in range(rows))])
        settings = params.read()
        load.load(settings.data, settings.prepare)
        if "prepare" in recorded:
            prepare.prepare(settings.prepare)
        with Repo() as repo:
            for stage in recorded:
                repo.commit(stage, force=True)

    run(200, "load", "prepare")
    return run


def test_a_table_of_the_user_is_searched(houses):
    done = run_main(main, *COMMAND)
    assert done.returncode == 0, done.stdout + done.stderr
    best = json.loads((paths.sweep("torch-mlp") / results.BEST).read_text("utf-8"))
    assert (best["finished"], best["examples"]) == (2, 30)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data.target", "size", 'data.target = "size", but artifacts/data was prepared with "sold"; run `dvc repro'),
        ("data.source", "digits", 'data.source = "digits", but artifacts/data was prepared with "csv"'),
        ("prepare.seed", 1, "prepare.seed = 1, but artifacts/data was prepared with 0"),
        ("prepare.order", "size", 'prepare.order = "size", but artifacts/data was prepared with null'),
    ],
)
def test_data_that_was_prepared_with_other_parameters_is_not_used(houses, tmp_path, name, value, words):
    write_params(tmp_path, {**PARAMETERS, name: value})
    assert_one_error_line(run_main(main, *COMMAND), words)
    assert not paths.sweep("torch-mlp").exists()


def test_other_parameters_do_not_matter(houses, tmp_path):
    write_params(tmp_path, {**PARAMETERS, "train.seed": 1, "promote.seed": 1})
    prepared.require_current(params.read())


def test_data_that_was_loaded_again_and_not_prepared_is_not_used(houses):
    houses(201, "load")
    assert_one_error_line(run_main(main, *COMMAND), "artifacts/data: prepared from other data than artifacts/data/raw")


def test_data_that_was_prepared_elsewhere_is_not_used(houses):
    """As after `git checkout` without `dvc checkout`."""
    paths.SPEC.write_text(paths.SPEC.read_text("utf-8").replace("houses", "flats"), "utf-8")
    assert_one_error_line(run_main(main, *COMMAND), "artifacts/data/spec.json: not the one that dvc.lock records")


def test_data_that_was_prepared_without_dvc_is_used(houses):
    prepared.LOCK_FILE.unlink()
    prepared.require_current(params.read())
