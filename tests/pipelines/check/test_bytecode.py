"""Compilation of installed packages."""

from importlib.util import cache_from_source
from pathlib import Path

from pipelines.check import bytecode


def test_a_package_without_bytecode_is_compiled_once(tmp_path, monkeypatch, capsys):
    module = tmp_path / "installed" / "inner" / "module.py"
    module.parent.mkdir(parents=True)
    for file in (module, module.with_name("__init__.py"), tmp_path / "installed" / "__init__.py"):
        file.write_text("VALUE = 1\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert bytecode.compile_missing(["installed", "not_installed"]) == ["installed"]
    assert Path(cache_from_source(module)).exists()
    assert "compiling installed" in capsys.readouterr().out
    assert bytecode.compile_missing(["installed", "not_installed"]) == []
    assert capsys.readouterr().out == ""


def test_nothing_is_compiled_where_bytecode_cannot_be_stored(tmp_path, monkeypatch, capsys):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "__init__.py").write_text("VALUE = 1\n", "utf-8")
    (tmp_path / "closed" / "__pycache__").write_text("not a folder", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert bytecode.compile_missing(["closed"]) == []
    assert capsys.readouterr().out == ""
