"""The HTML report: content, independence of a network, and its look in a real browser."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import Chrome

from models.plotting.palette import PALETTE
from pipelines.promote.pages import charts, html_report
from pipelines.promote.pages.charts import Curve
from tests.browser import NO_BROWSER, chromium, emulate, serious_violations
from tests.pipelines.promote.pages.conftest import HOSTILE
from tests.pipelines.workspace import REPOSITORY


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser"), "host-resolver-rules=MAP * ~NOTFOUND") as driver:
        yield driver


def rows(page):
    """The cells of each row of each table."""
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found]


def test_both_twins_are_side_by_side(promotion):
    page = html_report.page(promotion, None)
    for row in (
        ["", "torch", "keras"],
        ["training", "1.5 s, 10 epochs", "1.5 s, 10 epochs"],
        ["validation accuracy", "0.9700", "0.9600"],
        ["test accuracy", "0.9000 [0.8800, 0.9200]", "0.9000 [0.8800, 0.9200]"],
        ["test calibration error", "0.0120", "0.0120"],
        ["test calibration error uncalibrated", "0.0540", "0.0540"],
        ["latency p50, batch of 1", "0.125 ms", "0.250 ms"],
        ["latency p99, batch of 1", "0.250 ms, 100 calls", "0.500 ms, 100 calls"],
        ["throughput, best batch size", "20,000 examples/s", "20,000 examples/s"],
        ["file size", "2.9 KiB", "2.9 KiB"],
        ["parity", "passed", "passed"],
        ["int8: validation accuracy", "0.9600", "–"],
    ):
        assert row in rows(page)
    assert page.count('class="curve torch"') == page.count('class="curve keras dashed"') == 2
    assert 'aria-label="cnn: loss"' in page


def test_champion_reason_data_errors_card_and_lineage_are_there(promotion):
    page = html_report.page(promotion, b"a PNG")
    assert "Champion: torch-cnn, version 7" in page
    assert "torch-cnn has the best validation accuracy." in page
    assert "Comparison with the champion before: there was no champion to compare it with." in page
    for name, verdict in promotion.choice.verdicts.items():
        assert [name, verdict] in [row[:2] for row in rows(page)]
    for row in (
        ["run id", "r1"],
        ["SHA-256 of the file", promotion.manifest["model"]["sha256"]],
        ["train.schedule.name", "cosine"],
    ):
        assert row in rows(page)
    assert ["examples", "1,257 train, 270 validation, 270 test"] in rows(page)
    assert "1 of 270 test examples are misclassified" in page
    assert "<strong>3</strong> 98.0%<br>actually 8" in page
    assert "How to Get Started with the Model" in page
    assert "data:image/png;base64,YSBQTkc=" in page


def test_latencies_of_verdicts_and_intervals_are_explained(promotion):
    page = html_report.page(promotion, None)
    assert "measured again in turns, which gives the latencies of the slower ones in the verdicts" in page
    assert "Lines: confidence intervals (evaluate.confidence)." in page
    assert "brackets contain confidence intervals (evaluate.confidence)." in page


def test_large_errors_are_written_with_all_digits_and_rows_say_where(houses):
    worst = {"row": 3, "predicted": 268834.0, "actual": 98168.0, "features": {"size": 1.3625e5}}
    houses.errors.update({name: errors | {"worst": [worst]} for name, errors in houses.errors.items()})
    found = rows(html_report.page(houses, None))
    assert ["3", "268834", "98168", "+170666", "136250"] in found
    assert ["row in the test split, from 0", "predicted", "actual", "difference", "size"] in found


def test_one_framework_has_no_twins(promotion):
    assert ">Twins</h2>" in html_report.page(promotion, None)
    candidates = [graph for graph in promotion.candidates if graph.framework == "torch"]
    page = html_report.page(replace(promotion, candidates=candidates), None)
    assert "Twins" not in page
    assert '<h2 id="twins-title">Training</h2>' in page


def test_a_regression_of_a_table(houses):
    page = html_report.page(houses, None)
    assert ["test R²", "0.9000 [0.8000, 0.9500]", "0.9000 [0.8000, 0.9500]"] in rows(page)
    assert ["3", "12.5", "99.25", "-86.75", "–", "red"] in rows(page)
    assert ["size", "number", "1", "1", "3"] in rows(page)
    assert "the largest differences among 15 test examples" in page


def test_the_data_sheet_is_of_the_current_data_and_not_of_those_of_an_earlier_champion(houses):
    page = html_report.page(replace(houses, data_spec=replace(houses.data_spec, mean=(2.5, 0.0))), None)
    assert ["size", "number", "2.5", "1", "3"] in rows(page)


def test_nothing_is_requested_and_no_name_is_markup(houses):
    page = html_report.page(houses, None)
    assert HOSTILE not in page
    assert re.findall(r"<script|<iframe|<object|(?:src|href)=\"(?!data:|#)", page) == []
    assert "url(" not in page
    assert "@import" not in page


def test_colours_are_those_of_the_service_and_of_the_plots(promotion):
    page = html_report.page(promotion, None)
    theme = (REPOSITORY / "serving" / "web" / "theme.css").read_text("utf-8")
    variables = re.findall(r"--[\w-]+: [^;]+;", theme[: theme.index("* {")])
    assert len(variables) > 30
    assert [one for one in variables if one not in page] == []
    assert all(colour in page for colour in PALETTE)


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [np.nan, 1.0, np.inf], [np.nan]])
def test_a_curve_of_any_values_has_numbers_only(values):
    line = Curve("torch", np.arange(1.0, len(values) + 1), np.array(values))
    drawing = charts.curves("loss", [line], "epoch")
    assert "nan" not in drawing
    assert "inf" not in drawing


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_few_epochs_are_marked_by_their_numbers(epochs):
    drawing = charts.curves("loss", [Curve("torch", np.arange(1.0, epochs + 1), np.ones(epochs))], "epoch")
    assert re.findall(r'text-anchor="middle">([^<]*)<', drawing) == [*map(str, range(1, epochs + 1)), "epoch"]


def test_a_long_curve_keeps_its_ends_and_few_points():
    line = Curve("torch", np.arange(10_000.0), np.linspace(0, 1, 10_000))
    points = re.search('points="([^"]*)"', charts.curves("loss", [line], "epoch"))[1].split()
    assert len(points) <= charts.MAX_POINTS
    assert points[0].startswith(f"{charts.LEFT}.0,")
    assert points[-1].startswith(f"{charts.WIDTH - charts.RIGHT}.0,")


@NO_BROWSER
@pytest.mark.parametrize("kind", ["promotion", "houses"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_accessible(browser, request, tmp_path, kind, scheme):
    file = Path(tmp_path / "report.html")
    file.write_text(html_report.page(request.getfixturevalue(kind), None), "utf-8")
    for width in (1280, 390):
        emulate(browser, width, prefers_color_scheme=scheme)
        browser.get(file.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert serious_violations(browser) == []
    assert browser.get_log("browser") == []


def test_a_champion_that_is_none_of_the_candidates(promotion):
    promotion.manifest["model"] |= {"sha256": "f" * 64}
    promotion.manifest.update(name="keras-mlp")
    page = html_report.page(promotion, None)
    assert "Champion: keras-mlp, version 7" in page
    assert 'class="mark torch"' in page
    assert "<path" not in page.split("</header>")[1]  # no star
    assert "<details open>" not in page
