"""The Kubernetes manifest: schemas, and agreement with the service."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.container.generate import DEFAULT_BENTO_ENVS

from serving.settings import Settings, read
from tests.serving.conftest import ROOT, Local

FOLDER = ROOT / "serving" / "deploy" / "kubernetes"
MANIFEST = FOLDER / "base" / "tandem.yaml"
OBJECTS: dict[str, dict[str, Any]] = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text("utf-8"))}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]
PROBES = {name: probe["httpGet"] for name, probe in CONTAINER.items() if name.endswith("Probe")}


def settings(container: dict[str, Any] = CONTAINER) -> Settings:
    """The settings from a container's environment."""
    values = {each["name"]: each.get("value", "secret") for each in container["env"]}
    return read({name: value for name, value in values.items() if name.startswith("TANDEM_")})


def build(folder: Path, *components: str) -> dict[str, dict[str, Any]]:
    """The objects, by kind, with some of the components."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which has kustomize, is missing")
    shutil.copytree(FOLDER, folder / "kubernetes")
    file = folder / "kubernetes" / "kustomization.yaml"
    content = yaml.safe_load(file.read_text("utf-8"))
    file.write_text(yaml.safe_dump(content | {"components": list(components)}), "utf-8")
    command = ["kubectl", "kustomize", str(file.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}


def require_valid(objects: dict[str, dict[str, Any]]) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate, which has the schemas, is missing"
    )
    for each in objects.values():
        schemas.validate(each, schemas.latest_version(), strict=True)


def test_it_matches_the_schemas() -> None:
    require_valid(OBJECTS)


def test_without_components_it_is_the_base(tmp_path: Path) -> None:
    assert build(tmp_path) == OBJECTS
    commented = (FOLDER / "kustomization.yaml").read_text("utf-8")
    assert all(f"\n# - {name} #" in commented for name in ("queue-autoscaling", "gpu"))


def test_the_autoscaler_counts_queueing_time_beside_the_cpu(tmp_path: Path) -> None:
    objects = build(tmp_path, "queue-autoscaling")
    require_valid(objects)
    processor, queue = objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert processor == OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"][0]
    adapter = yaml.safe_load((FOLDER.parent / "monitoring" / "prometheus-adapter.yaml").read_text("utf-8"))
    assert queue["pods"]["metric"]["name"] == adapter["rules"]["custom"][0]["name"]["as"]
    milliseconds = int(queue["pods"]["target"]["averageValue"].removesuffix("m"))
    assert 0 < milliseconds / 1000 < settings().max_wait_seconds
    assert objects["Deployment"] == OBJECTS["Deployment"]


def test_a_replica_has_a_gpu_and_uses_no_other_device(tmp_path: Path) -> None:
    objects = build(tmp_path, "queue-autoscaling", "gpu")
    require_valid(objects)
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["limits"]["cpu"] == CONTAINER["resources"]["limits"]["cpu"]
    assert settings(container) == settings().model_copy(update={"device": "cuda"})
    (cache,) = [each["value"] for each in container["env"] if each["name"] == "CUDA_CACHE_PATH"]
    assert Path(cache).is_relative_to(container["volumeMounts"][0]["mountPath"])
    assert pod["securityContext"] == POD["spec"]["securityContext"]
    (toleration,) = pod["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


def test_the_inference_service_of_kserve_has_the_same_pod() -> None:
    """KServe routes to the container `kserve-container`; the fields of a pod are checked in the Deployment."""
    service = yaml.safe_load((FOLDER / "kserve" / "inference-service.yaml").read_text("utf-8"))
    schema = json.loads(Path(__file__).with_name("inference_service.schema.json").read_text("utf-8"))
    jsonschema.validate(service, schema)
    predictor = service["spec"]["predictor"]
    pod = {name: predictor[name] for name in POD["spec"]}
    (container,) = pod["containers"]
    assert container | {"name": CONTAINER["name"]} == CONTAINER
    assert container["name"] == "kserve-container"
    assert pod | {"containers": [CONTAINER]} == POD["spec"]
    assert {name: predictor[name] for name in POD["metadata"]} == POD["metadata"]
    scaling = OBJECTS["HorizontalPodAutoscaler"]["spec"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (scaling["minReplicas"], scaling["maxReplicas"])
    assert predictor["scaleTarget"] == scaling["metrics"][0]["resource"]["target"]["averageUtilization"]


@pytest.mark.parametrize("probe", PROBES)
def test_the_probes_are_answered_without_a_key(probe: str, digits: Path, local: Callable[..., Local]) -> None:
    assert sorted(PROBES) == ["livenessProbe", "readinessProbe", "startupProbe"]
    assert local(digits, api_key="secret").get(PROBES[probe]["path"]).status_code == 200


def test_until_the_champion_is_ready_only_liveness_succeeds(digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits)
    service.worker.ready = False
    statuses = {name: service.get(probe["path"]).status_code for name, probe in PROBES.items()}
    assert statuses == {"startupProbe": 503, "readinessProbe": 503, "livenessProbe": 200}


def test_the_ports_are_those_of_the_service() -> None:
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert ports == {"http": BentoMLContainer.http.port.get(), "grpc": settings().grpc_port}
    assert {probe["port"] for probe in PROBES.values()} == {"http"}
    reachable = [each["targetPort"] for each in OBJECTS["Service"]["spec"]["ports"]]
    allowed = [each["port"] for rule in OBJECTS["NetworkPolicy"]["spec"]["ingress"] for each in rule["ports"]]
    assert reachable == allowed == list(ports)
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"])


def test_the_settings_are_valid_and_match_the_resources() -> None:
    """The variables that Kubernetes sets for a service named tandem would be unknown settings."""
    assert settings().workers == int(CONTAINER["resources"]["limits"]["cpu"])
    assert POD["spec"]["enableServiceLinks"] is False


def test_requests_in_flight_can_finish_before_termination() -> None:
    delay = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] > delay + settings().timeout_seconds + settings().turn_seconds


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
