"""The style of all plots."""

from pathlib import Path

from pipelines.plotting.style import picture


def test_logarithmic_axes_are_written_without_mathematics(tmp_path: Path) -> None:
    with picture(tmp_path / "powers.png", 4, 3, "powers") as figure:
        axes = figure.subplots()
        axes.plot([1, 2, 3], [1e-5, 1, 1000])
        axes.set_yscale("log")
    written = [text.get_text() for text in axes.get_yticklabels()]
    assert {"1e\N{MINUS SIGN}05", "1000"} <= {*written}
    assert not any("$" in text for text in written)
