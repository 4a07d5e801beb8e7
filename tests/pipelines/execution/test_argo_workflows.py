"""The stages as pods of Argo Workflows."""

from typing import Any

import pytest
import yaml

from pipelines.config import params
from tests.pipelines.workspace import REPOSITORY

TEMPLATE = yaml.safe_load((REPOSITORY / "pipelines" / "execution" / "argo-workflows.yaml").read_text("utf-8"))
PIPELINE, STAGE = TEMPLATE["spec"]["templates"]


def parameters(values: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in values["parameters"]}


def test_it_matches_the_schema_of_argo_workflows():
    models = pytest.importorskip("hera.workflows.models", reason="hera, which has the schema, is missing")
    valid = models.WorkflowTemplate.model_validate(TEMPLATE)
    assert valid.model_dump(by_alias=True, exclude_none=True, mode="json") == TEMPLATE


def test_the_candidates_are_those_of_params_yaml():
    candidates = yaml.safe_load(parameters(TEMPLATE["spec"]["arguments"])["candidates"])
    assert candidates == list(params.read(REPOSITORY / "params.yaml").candidates)


def test_each_stage_of_dvc_yaml_is_run_by_a_task_or_before_one():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))["stages"]
    tasks = [parameters(task["arguments"])["stage"].partition("@")[0] for task in PIPELINE["dag"]["tasks"]]
    assert tasks == ["prepare", "evaluate", "promote"]
    assert set(tasks) <= set(stages)
    last = list(stages)[-1]
    assert tasks[-1] == last
    previous = [task.get("depends") for task in PIPELINE["dag"]["tasks"]]
    assert previous == [None, *(task["name"] for task in PIPELINE["dag"]["tasks"][:-1])]


def test_a_pod_takes_and_gives_what_is_made_through_the_remote():
    lines = STAGE["container"]["args"][0].splitlines()
    dvc = [line for line in lines if line.startswith("dvc ")]
    assert dvc == ["dvc pull --run-cache --allow-missing", 'dvc repro --pull "$STAGE"', "dvc push --run-cache"]
