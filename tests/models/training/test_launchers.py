"""The place of a process in the environment variables of launchers."""

import json
from typing import Any

import pytest

from models.config import Framework
from models.errors import InputError
from models.training import launchers
from models.training.launchers import Place
from tests.models.conftest import FRAMEWORKS

ADDRESSES = ["10.0.0.1:2222", "10.0.0.2:2222", "10.0.0.2:2223"]
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}


def tf_config(kind: Any, index: Any, **cluster: Any) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_written_is_read(framework: Framework) -> None:
    for rank in range(3):
        assert launchers.read(framework, launchers.write(framework, ADDRESSES, rank, 1)) == Place(rank, 3, 1)
    assert launchers.read(framework, {"PATH": "/bin"}) is None


def test_the_variables_of_torchrun() -> None:
    assert launchers.read("torch", TORCHRUN) == Place(5, 8, 1)
    assert launchers.write("torch", ADDRESSES, 2, 1) == {
        **{"RANK": "2", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "2222"}
    }


def test_the_chief_of_tf_config_is_the_first_worker() -> None:
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert launchers.read("keras", tf_config("chief", 0, **cluster)) == Place(0, 3)
    assert launchers.read("keras", tf_config("worker", 1, **cluster)) == Place(2, 3)
    assert launchers.read("keras", tf_config("worker", 1, worker=["b:1", "c:1"])) == Place(1, 2)


@pytest.mark.parametrize(
    ("framework", "environment", "words"),
    [
        ("torch", {"RANK": "0"}, ["WORLD_SIZE, MASTER_ADDR, MASTER_PORT", "allowed: none or all"]),
        ("torch", TORCHRUN | {"RANK": "-1"}, ["RANK = '-1'", "a number from 0 on"]),
        ("torch", TORCHRUN | {"RANK": "8"}, ["rank 8 of 8 workers", "0 to 7"]),
        ("keras", {"TF_CONFIG": "{"}, ["TF_CONFIG = '{'", "JSON with cluster and task"]),
        ("keras", {"TF_CONFIG": "[]"}, ["JSON with cluster and task"]),
        ("keras", tf_config("ps", 0, ps=["a:1"]), ["JSON with cluster and task"]),
        ("keras", tf_config("worker", 2, worker=["a:1"]), ["rank 2 of 1 workers", "0 to 0"]),
        ("keras", TORCHRUN, ["RANK is set, which keras does not read", "TF_CONFIG"]),
        ("torch", tf_config("worker", 0, worker=["a:1", "b:1"]), ["TF_CONFIG is set, which torch", "torchrun"]),
    ],
)
def test_invalid_variables_are_named(framework: Framework, environment: dict[str, str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        launchers.read(framework, environment)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_launcher_of_one_process_is_none_for_the_other_framework() -> None:
    assert launchers.read("keras", TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}) is None
