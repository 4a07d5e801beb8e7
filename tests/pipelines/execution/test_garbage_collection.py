"""Garbage collection and imports."""

import gc
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.execution import garbage_collection
from pipelines.execution.candidate import Candidate

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _frozen_again():
    """As it was before: pytest searches for garbage when it ends."""
    yield
    gc.freeze()


def test_nothing_is_collected_in_the_block_and_its_objects_are_omitted_later(monkeypatch):
    gc.unfreeze()
    with garbage_collection.paused():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "imported", ModuleType("imported"))
        imported = [[]]
    assert gc.isenabled()
    assert not any(each is imported for each in gc.get_objects())  # the frozen ones are not listed


def test_without_an_import_nothing_is_omitted():
    gc.unfreeze()
    with garbage_collection.paused():
        pass
    assert gc.get_freeze_count() == 0


def test_collection_stays_disabled_where_it_was():
    gc.disable()
    try:
        with garbage_collection.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_module_that_is_imported_already_freezes_nothing():
    """Else the garbage of each trial of a sweep would remain."""
    torch = Candidate("torch", "mlp")
    torch.framework_module("device"), torch.architecture_module()
    gc.unfreeze()
    torch.framework_module("device"), torch.architecture_module()
    assert gc.get_freeze_count() == 0


STAGE = """
import atexit, gc
from pipelines.execution import stage
from pipelines.execution.candidate import Candidate
own = []
def main():
    Candidate("torch", "mlp").framework_module("device")
    own.extend([] for _ in range(50_000))
    print(gc.get_freeze_count(), gc.isenabled())
atexit.register(lambda: print(len(gc.get_objects())))
stage.run(main)
"""


def test_a_stage_ends_without_a_search_for_garbage():
    done = subprocess.run([sys.executable, "-c", STAGE], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    imported, listed = done.stdout.splitlines()
    count, is_enabled = imported.split()
    assert int(count) > 100_000
    assert is_enabled == "True"
    assert int(listed) < 10_000
