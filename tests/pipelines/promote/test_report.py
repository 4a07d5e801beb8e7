import pytest

from pipelines.artifacts import records
from pipelines.promote import report
from pipelines.promote.selection import Choice
from tests.pipelines import synthetic

RECORD = {
    "name": "torch-cnn",
    "version": "7",
    "model": {"sha256": "a" * 64},
    "spec": synthetic.SPEC.to_dict(),
    "provenance": {"run_id": "r1", "git_commit": "c1", "git_dirty": True},
}
CHOICE = Choice(
    "torch-cnn", "torch-cnn is the best", {"torch-cnn": "champion", "keras-cnn": "rejected: parity check failed"}
)


@pytest.fixture
def candidates(tmp_path, monkeypatch):
    settings = synthetic.enter(tmp_path, monkeypatch)
    for name, accuracy in (("torch-cnn", 0.9712), ("keras-cnn", 0.9534)):
        synthetic.write_candidate(name, passed=name == "torch-cnn")
        synthetic.write_metrics(name, accuracy, p50_ms=0.125)
    return [*records.read("torch-cnn"), *records.read("keras-cnn")], settings.promote


def test_the_table_has_a_line_for_each_candidate_in_straight_columns(candidates):
    lines = report.table(candidates[0], CHOICE.verdicts).splitlines()
    assert len(lines) == 4
    assert [line.index(verdict) for line, verdict in zip(lines[2:], ("champion", "rejected"), strict=True)] == [
        lines[0].index("verdict")
    ] * 2
    for text in ("torch-cnn", "0.9712", "0.9000 [0.8800, 0.9200]", "0.125", "0.250", "passed"):
        assert text in lines[2]
    assert lines[3].count("failed") == 2  # the parity column and the verdict


def test_the_page_says_what_was_chosen_why_and_from_where(candidates):
    page = report.page(candidates[0], CHOICE, candidates[1], RECORD)
    assert page.startswith("# Champion: torch-cnn, version 7 of `tandem`\n\ntorch-cnn is the best.\n")
    for text in ("| run id", "`r1`", "`c1`", "`True`", "a" * 64, "at least 0.9", "2.4e-07", "100.00%", "not limited"):
        assert text in page
    for name in ("torch-cnn", "keras-cnn"):
        assert f"(plots/{name}/pictures/most_wrong.png)" in page


def test_the_page_names_the_latency_ceiling(candidates):
    settings = candidates[1].model_copy(update={"maximum_latency_ms": 2.5})
    assert "at most 2.5 ms" in report.page(candidates[0], CHOICE, settings, RECORD)


def test_tables_of_the_page_are_whole(candidates):
    page = report.page(candidates[0], CHOICE, candidates[1], RECORD)
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
