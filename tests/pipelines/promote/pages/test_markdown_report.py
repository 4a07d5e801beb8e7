from dataclasses import replace

import pytest

from models.metrics.latency import Latency
from pipelines.artifacts import records
from pipelines.promote.decision import Decision
from pipelines.promote.pages import markdown_report
from pipelines.promote.promotion import Promotion
from pipelines.promote.selection import Choice, RankedCandidate, Rules
from tests.pipelines import synthetic

RECORD = {
    "name": "torch-cnn",
    "version": "7",
    "model": {"sha256": "a" * 64},
    "spec": synthetic.SPEC.to_dict(),
    "provenance": {"run_id": "r1", "git_commit": "c1", "git_dirty": True},
}
LATENCY = Latency(p50_ms=0.125, p90_ms=0.2, p99_ms=0.3, calls=4321, examples_per_second=8000)
CHOICE = Choice(
    "torch-cnn",
    "torch-cnn",
    "torch-cnn is the best",
    {"torch-cnn": "champion", "keras-cnn": "rejected: parity check failed"},
    (RankedCandidate("torch-cnn", 0.0, 1.0, True, LATENCY), RankedCandidate("torch-mlp", 0.25, 0.0012, False, None)),
)
DECISION = Decision(True, "there was no champion to compare it with")


@pytest.fixture
def promotion(tmp_path, monkeypatch):
    settings = synthetic.enter(tmp_path, monkeypatch)
    for name, accuracy in (("torch-cnn", 0.9712), ("keras-cnn", 0.9534)):
        synthetic.write_candidate(name, passed=name == "torch-cnn")
        synthetic.write_metrics(name, accuracy, p50_ms=0.125)
    rules = Rules(settings.promote, "accuracy", "accuracy")
    candidates = [*records.read("torch-cnn"), *records.read("keras-cnn")]
    return Promotion(
        candidates, CHOICE, DECISION, rules, RECORD, histories={}, errors={}, data={}, data_spec=synthetic.SPEC
    )


def test_the_table_has_a_line_for_each_candidate_in_straight_columns(promotion):
    lines = markdown_report.table(promotion.candidates, CHOICE, DECISION, promotion.rules).splitlines()
    assert len(lines) == 4
    assert [line.index(verdict) for line, verdict in zip(lines[2:], ("champion", "rejected"), strict=True)] == [
        lines[0].index("verdict")
    ] * 2
    for text in ("torch-cnn", "0.9712", "0.9000 [0.8800, 0.9200]", "0.125", "0.250 (100)", "passed"):
        assert text in lines[2]
    assert lines[3].count("failed") == 2  # the parity column and the verdict


def test_the_page_says_what_was_chosen_why_and_from_where(promotion):
    page = markdown_report.page(promotion)
    assert page.startswith("# Champion: torch-cnn, version 7 of `tandem`\n\ntorch-cnn is the best.\n\nComparison")
    for text in (
        "| run id",
        "| r1 ",
        "| c1 ",
        "| True ",
        "a" * 64,
        "at least 0.9",
        "2.4e-07",
        "100.00%",
        "not limited",
    ):
        assert text in page
    for name in ("torch-cnn", "keras-cnn"):
        assert f"(plots/{name}/pictures/most_wrong.png)" in page


def test_the_page_names_the_latency_ceiling(promotion):
    config = promotion.rules.config.model_copy(update={"maximum_latency_ms": 2.5})
    limited = replace(promotion, rules=Rules(config, "accuracy", "accuracy"))
    assert "at most 2.5 ms" in markdown_report.page(limited)


def test_the_page_lists_what_was_compared_and_how(promotion):
    page = markdown_report.page(promotion)
    assert "by McNemar's exact test, is above 0.05" in page
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| torch-")
    ]
    assert ["torch-cnn", "0.0000", "-", "yes", "0.1250", "4,321"] in rows
    assert ["torch-mlp", "0.2500", "0.0012", "no", "-", "-"] in rows


def test_a_percentile_that_was_not_measured_is_a_dash(promotion):
    page = markdown_report.page(promotion)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if "CPUExecution" in line]
    assert rows[0][2:7] == ["256", "10", "2.500", "3.000", "-"]
    assert rows[1][2:7] == ["1", "100", "0.125", "0.150", "0.250"]


def test_tables_of_the_page_are_whole(promotion):
    page = markdown_report.page(promotion)
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("name", "title"), [("my model", "`my model`"), ("a`b", "`` a`b ``"), ("``a\n`", "``` ``a ` ```")]
)
def test_the_name_of_the_model_is_code_in_the_title(promotion, name, title):
    config = promotion.rules.config.model_copy(update={"model_name": name})
    page = markdown_report.page(replace(promotion, rules=replace(promotion.rules, config=config)))
    assert page.splitlines()[0] == f"# Champion: torch-cnn, version 7 of {title}"


def test_text_is_not_markup(promotion):
    text = "a | b `c` *d* <img src=x> [e](f)\n# g"
    manifest = {**RECORD, "provenance": {**RECORD["provenance"], "experiment": text}}
    choice = replace(CHOICE, reason=text, verdicts={**CHOICE.verdicts, "keras-cnn": text})
    decision = replace(DECISION, reason=text)
    page = markdown_report.page(replace(promotion, choice=choice, decision=decision, manifest=manifest))
    assert page.count(r"a \| b \`c\` \*d\* \<img src=x\> \[e\](f) \# g") == 4
    shown = markdown_report.table(promotion.candidates, choice, DECISION, promotion.rules)
    assert "a | b `c` *d* <img src=x> [e](f)" in shown
