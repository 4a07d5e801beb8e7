import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from pipelines.promote.pages import model_card
from tests.pipelines import synthetic
from tests.pipelines.promote.pages.conftest import HOSTILE

# Of https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/templates/modelcard_template.md
SECTIONS = [
    "Model Details", "Uses", "Bias, Risks, and Limitations", "How to Get Started with the Model", "Training Details",
    "Evaluation", "Technical Specifications",
]  # fmt: skip


def sections(text):
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_the_hub_reads_metadata_and_results(promotion):
    card = ModelCard(model_card.markdown(promotion))
    assert (card.data.library_name, card.data.pipeline_tag) == ("onnx", "image-classification")
    assert card.data.tags == ["onnx", "torch", "cnn"]
    assert card.data.model_name == "tandem"
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_name, result.dataset_split) == ("image-classification", "digits", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.9)
    assert result.dataset_revision == synthetic.DATA
    assert sections(card.text) == SECTIONS
    for text in (
        "torch-cnn",
        "| train.schedule.name | cosine |",
        promotion.manifest["model"]["sha256"],
        "0.9000 \\[0.8800, 0.9200\\]",
        "| torch",
    ):
        assert text in card.text
    assert "data.path" not in card.text  # may be a place on this machine


def test_parameters_have_their_names_in_params_yaml(promotion):
    promotion.champion.training["params"]["cnn"] = {"channels": [4, 8]}
    text = model_card.markdown(promotion)
    assert "| models.cnn.channels | \\[4, 8\\] |" in text
    assert "| train.schedule.name | cosine |" in text


@pytest.mark.parametrize(("epochs", "words"), [(1, "for 1 epoch on"), (1000, "for 1,000 epochs on")])
def test_the_number_of_epochs(promotion, epochs, words):
    promotion.champion.training["epochs"] = epochs
    assert words in model_card.markdown(promotion)


def test_a_regression_of_a_table(houses):
    card = ModelCard(model_card.markdown(houses))
    assert card.data.pipeline_tag == "tabular-regression"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        "r_squared": 0.9,
        "mae": 12345.6,
    }
    assert sections(card.text) == SECTIONS
    assert "Examples of one split occur in another (2 of test in train), which" in card.text


def test_text_of_the_data_is_no_markup(houses):
    target = houses.manifest["spec"] | {"target": f"{HOSTILE}\n# title"}
    houses.manifest["spec"].update(target)
    houses.__dict__.pop("spec", None)
    text = model_card.markdown(houses)
    assert "<img" not in text.replace("\\<img", "")
    assert "\n# title" not in text


@pytest.mark.parametrize("quoted", ["yes: [no]", "'\"", "1.0", "läßt sich 漢字"])
def test_names_of_data_sets_remain_text_in_the_metadata(promotion, quoted):
    promotion.manifest["spec"] |= {"name": quoted}
    promotion.__dict__.pop("spec", None)
    (result,) = ModelCard(model_card.markdown(promotion)).data.eval_results
    assert result.dataset_name == quoted


def test_the_example_of_the_card_runs(promotion, tmp_path):
    text = model_card.markdown(promotion)
    code = text.split("```python\n")[1].split("```")[0]
    model = tmp_path / "artifacts" / "exports" / "torch-cnn" / "model.onnx"
    model.rename(tmp_path / promotion.manifest["model"]["file"])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(outputs.shape)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "(1, 10)\n", done.stderr


def test_a_champion_that_is_none_of_the_candidates(promotion):
    """It was kept: only what champion.json records is known about it."""
    promotion.manifest["model"] |= {"sha256": "f" * 64}
    promotion.manifest["provenance"] |= {"data_sha256": "e" * 64}
    card = ModelCard(model_card.markdown(promotion))
    assert sections(card.text) == SECTIONS
    assert "The parameters of its training are in its MLflow run." in card.text
    assert "train.schedule.name" not in card.text
    assert "270" not in card.text
    assert "f" * 64 in card.text
