"""Imports without optional packages."""

import importlib
import sys
import types

import pytest

from pipelines.execution.optional_imports import hidden


def test_a_hidden_package_is_as_if_it_were_not_installed_until_the_block_ends(tmp_path, monkeypatch):
    (tmp_path / "installed.py").write_text("", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with hidden("installed"), pytest.raises(ImportError):
        importlib.import_module("installed")
    importlib.import_module("installed")
    monkeypatch.delitem(sys.modules, "installed")


def test_an_imported_package_stays(monkeypatch):
    imported = types.ModuleType("imported")
    monkeypatch.setitem(sys.modules, "imported", imported)
    with hidden("imported"):
        assert sys.modules["imported"] is imported
    assert sys.modules["imported"] is imported
