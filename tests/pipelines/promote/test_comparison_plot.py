from dataclasses import replace

from matplotlib.figure import Figure

from pipelines.artifacts import records
from pipelines.promote import comparison_plot
from tests.pipelines import synthetic


def test_a_metric_may_lie_outside_its_interval(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch)
    synthetic.write_candidate("torch-cnn")
    synthetic.write_metrics("torch-cnn", 0.97)
    (record,) = records.read("torch-cnn")
    axes = Figure().subplots()
    for score, low, high in ((0.96, 0.8, 0.95), (-0.2, -0.1, 0.5)):
        test = {"accuracy": score, "accuracy_low": low, "accuracy_high": high}
        candidate = replace(record, metrics={**record.metrics, "test": test})
        comparison_plot._draw_cost(axes, [candidate], "torch-cnn", {"torch-cnn": "black"})
    lines = [line.get_segments()[0][:, 1].tolist() for line in axes.collections if hasattr(line, "get_segments")]
    assert [[round(end, 6) for end in line] for line in lines] == [[0.8, 0.95], [-0.1, 0.5]]
