"""The Kubernetes manifest: schemas, and agreement with the service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.container.generate import DEFAULT_BENTO_ENVS

from serving.settings import Settings, read
from tests.serving.conftest import ROOT, Local

MANIFEST = ROOT / "serving" / "deploy" / "kubernetes.yaml"
OBJECTS: dict[str, dict[str, Any]] = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text("utf-8"))}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]
PROBES = {name: probe["httpGet"] for name, probe in CONTAINER.items() if name.endswith("Probe")}


def settings() -> Settings:
    """The settings from the container's environment."""
    return read({each["name"]: each.get("value", "secret") for each in CONTAINER["env"]})


@pytest.mark.parametrize("kind", OBJECTS)
def test_it_matches_the_schema(kind: str) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate, which has the schemas, is missing"
    )
    schemas.validate(OBJECTS[kind], schemas.latest_version(), strict=True)


@pytest.mark.parametrize("probe", PROBES)
def test_the_probes_are_answered_without_a_key(probe: str, digits: Path, local: Callable[..., Local]) -> None:
    assert sorted(PROBES) == ["livenessProbe", "readinessProbe", "startupProbe"]
    assert local(digits, api_key="secret").get(PROBES[probe]["path"]).status_code == 200


def test_until_the_champion_is_ready_only_liveness_succeeds(digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits)
    service.worker.ready = False
    statuses = {name: service.get(probe["path"]).status_code for name, probe in PROBES.items()}
    assert statuses == {"startupProbe": 503, "readinessProbe": 503, "livenessProbe": 200}


def test_the_port_is_that_of_the_service() -> None:
    (port,) = CONTAINER["ports"]
    assert port == {"name": "http", "containerPort": BentoMLContainer.http.port.get()}
    ports = [probe["port"] for probe in PROBES.values()]
    ports += [each["targetPort"] for each in OBJECTS["Service"]["spec"]["ports"]]
    ports += [each["port"] for rule in OBJECTS["NetworkPolicy"]["spec"]["ingress"] for each in rule["ports"]]
    assert set(ports) == {"http"}
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])


def test_the_settings_are_valid_and_match_the_resources() -> None:
    """The variables that Kubernetes sets for a service named tandem would be unknown settings."""
    assert settings().workers == int(CONTAINER["resources"]["limits"]["cpu"])
    assert POD["spec"]["enableServiceLinks"] is False


def test_requests_in_flight_can_finish_before_termination() -> None:
    delay = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] > delay + settings().timeout_seconds


def test_it_runs_as_the_user_of_the_image_and_writes_only_to_tmp() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["runAsUser"] == DEFAULT_BENTO_ENVS["uid_gid"]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    homes = [each["value"] for each in CONTAINER["env"] if each["name"] == "BENTOML_HOME"]
    mounts = [each["mountPath"] for each in CONTAINER["volumeMounts"]]
    assert mounts == ["/tmp"]
    assert Path(homes[0]).is_relative_to(mounts[0])


def test_all_objects_select_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    selectors = [OBJECTS[kind]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors += [
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 4
    assert (
        OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == OBJECTS["Deployment"]["metadata"]["name"]
    )
