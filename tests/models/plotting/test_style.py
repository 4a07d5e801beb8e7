"""The style of all plots."""

import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager

from models.plotting import style
from models.plotting.style import picture


def test_logarithmic_axes_are_written_without_mathematics(tmp_path: Path) -> None:
    with picture(tmp_path / "powers.png", 4, 3, "powers") as figure:
        axes = figure.subplots()
        axes.plot([1, 2, 3], [1e-5, 1, 1000])
        axes.set_yscale("log")
    written = [text.get_text() for text in axes.get_yticklabels()]
    assert {"1e\N{MINUS SIGN}05", "1000"} <= {*written}
    assert not any("$" in text for text in written)


def title(path: Path, text: str) -> bytes:
    with picture(path, 2, 1, text):
        pass
    return path.read_bytes()


def test_characters_are_taken_from_an_installed_fallback_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STIXGeneral comes with Matplotlib and has U+20DD and U+20DE, which DejaVu Sans lacks."""
    circle, square = "\u20dd", "\u20de"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert title(tmp_path / "a.png", circle) == title(tmp_path / "b.png", square)  # a box each
        monkeypatch.setattr(style, "FALLBACK_FONTS", ("No Such Font", "STIXGeneral"))
        assert style.fonts() == ["DejaVu Sans", "STIXGeneral"]
        assert title(tmp_path / "a.png", circle) != title(tmp_path / "b.png", square)


def test_a_font_that_was_installed_after_the_cache_was_made_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = font_manager.fontManager
    files = [font.fname for font in manager.ttflist if font.name == "STIXGeneral"]
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.name != "STIXGeneral"])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [*files, __file__])
    monkeypatch.setattr(style, "FALLBACK_FONTS", ("STIXGeneral",))
    assert style.fonts() == ["DejaVu Sans", "STIXGeneral"]


def test_a_fallback_font_without_a_bold_face_is_used_without_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(style, "FALLBACK_FONTS", ("cmtt10",))
    title(tmp_path / "a.png", "bold")
    assert caplog.text == ""
