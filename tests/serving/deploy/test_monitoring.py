"""Alert rules and dashboard: checked by promtool, evaluated by a Prometheus that scrapes the service."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from pipelines.execution.ports import free_port
from serving.canary.metrics import CanaryMetrics
from serving.monitoring.metrics import Metrics
from serving.monitoring.shadow_metrics import ShadowMetrics
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import PATIENCE, ROOT, serve, wait_for

FOLDER = ROOT / "serving" / "deploy" / "monitoring"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "30s").replace("$job", "tandem")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
LABELS = {"namespace": "default", "pod": "tandem-1"}  # as prometheus-kubernetes.yaml sets them
KEYS = "prometheus the-key-of-prometheus unlimited\n"
ADAPTER = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"][0]
QUERIES["prometheus-adapter"] = (
    ADAPTER["metricsQuery"]
    .replace("<<.GroupBy>>", "pod")
    .replace("<<.LabelMatchers>>", 'namespace="default",pod=~"tandem-1"')
)
WITHOUT_SERIES = ("Missing values", "Age of the last check")  # this service has neither a table nor a registry


def metric_names() -> set[str]:
    """The names of all series of the service."""
    metrics = Metrics(CollectorRegistry())
    ShadowMetrics(metrics.registry)
    CanaryMetrics(metrics.registry)
    metrics.set_registry_age(1)
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {family.name + suffix for family in metrics.registry.collect() for suffix in suffixes[family.type]}


@pytest.mark.parametrize("file", ["rules.yaml", "rules_test.yaml", "dashboard.json", "prometheus-adapter.yaml"])
def test_every_metric_named_exists(file: str) -> None:
    named = set(re.findall(r"\btandem_\w+", (FOLDER / file).read_text("utf-8")))
    named -= {ADAPTER["name"]["as"]}  # computed by the adapter
    assert named
    assert named <= metric_names()


def test_panels_have_titles_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (column, row)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert max(column for column, _ in places) < 24


def test_every_alert_is_tested_and_explained() -> None:
    tests = (FOLDER / "rules_test.yaml").read_text("utf-8")
    for rule in RULES:
        assert tests.count(rule["alert"]) >= 2, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing; Debian's package prometheus has it")
    return found


@pytest.mark.parametrize(
    "arguments",
    [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"], ["check", "config", "prometheus.yaml"]],
)
def test_promtool_accepts(arguments: list[str]) -> None:
    done = subprocess.run([program("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_for_kubernetes(tmp_path: Path) -> None:
    """All but the discovery of pods, which Debian's build of Prometheus does not have."""
    configuration = yaml.safe_load((FOLDER / "prometheus-kubernetes.yaml").read_text("utf-8"))
    (scrape,) = configuration["scrape_configs"]
    assert scrape.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    assert {rule["target_label"] for rule in scrape["relabel_configs"] if "target_label" in rule} == set(LABELS)
    shutil.copy(FOLDER / "rules.yaml", tmp_path)
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
    command = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("phase", "port", "kept"),
    [("Running", "http", True), ("Running", "grpc", False), ("Pending", "http", False), ("Failed", "http", False),
     ("Succeeded", "http", False)],
)  # fmt: skip
def test_prometheus_scrapes_the_port_of_running_pods(phase: str, port: str, kept: bool) -> None:
    """Others would be reported as a service that is down, for as long as they are listed."""
    configuration = yaml.safe_load((FOLDER / "prometheus-kubernetes.yaml").read_text("utf-8"))
    pod = {"pod_label_app_kubernetes_io_name": "tandem", "pod_container_port_name": port, "pod_phase": phase}
    labels = {f"__meta_kubernetes_{name}": value for name, value in pod.items()}
    keep = True
    for rule in configuration["scrape_configs"][0]["relabel_configs"]:
        if rule.get("action") in ("keep", "drop"):
            value = ";".join(labels[name] for name in rule["source_labels"])
            keep &= bool(re.fullmatch(rule["regex"], value)) == (rule["action"] == "keep")
    assert keep == kept


@contextlib.contextmanager
def prometheus(service: str, folder: Path) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the service every 3 seconds, with its real configuration otherwise."""
    shutil.copy(FOLDER / "rules.yaml", folder)
    configuration = yaml.safe_load((FOLDER / "prometheus.yaml").read_text("utf-8"))
    configuration["global"] = {"scrape_interval": "3s", "evaluation_interval": "1s"}
    (scrape,) = configuration["scrape_configs"]
    scrape["static_configs"] = [{"targets": [service.removeprefix("http://")], "labels": LABELS}]
    (folder / "key").write_text(KEYS.split()[1], "utf-8")
    scrape["authorization"] = {"credentials_file": str(folder / "key")}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    options = ["--config.file=prometheus.yaml", f"--web.listen-address={address}", "--storage.tsdb.path=data"]
    with (folder / "prometheus.txt").open("wb") as output:
        process = subprocess.Popen([program("prometheus"), *options], cwd=folder, stdout=output, stderr=output)
        try:
            with httpx.Client(base_url=f"http://{address}") as client:
                yield client
        finally:
            process.terminate()
            process.wait(PATIENCE)


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """The series. An error of the expression fails; a Prometheus that is not up yet has none."""
    try:
        answer = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    return list(answer.json()["data"]["result"])


def test_prometheus_scrapes_the_service_and_evaluates_every_query(tmp_path: Path) -> None:
    program("prometheus")
    champion = write(tmp_path / "champion", weights(DIGITS))
    keys = tmp_path / "keys"
    keys.write_text(KEYS, "utf-8")
    variables = {
        "TANDEM_API_KEYS_FILE": str(keys),
        "TANDEM_CHALLENGER": str(write(tmp_path / "challenger", weights(DIGITS, 2), "2")),
        "TANDEM_CANARY_SHARE": "0.5",
        "TANDEM_CANARY_MAX_DISAGREEMENT": "1",  # it is not rolled back
        "TANDEM_PREDICTION_LOG": str(tmp_path / "log"),
        "TANDEM_WORKERS": "2",
    }
    headers = {"authorization": f"Bearer {KEYS.split()[1]}"}
    with serve(champion, tmp_path / "home", **variables) as served, prometheus(served.url, tmp_path) as client:
        deadline = time.monotonic() + 3 * PATIENCE
        missing = set(QUERIES)
        while missing and time.monotonic() < deadline:
            body = {"inputs": raw(DIGITS, 3).tolist()}
            assert httpx.post(f"{served.url}/predict", json=body, headers=headers).status_code == 200
            httpx.get(f"{served.url}/nothing")
            missing = {name for name in missing if not query(client, QUERIES[name])}
            missing = {name for name in missing if not name.startswith(WITHOUT_SERIES)}
            time.sleep(0.2)
        assert missing == set()
        assert query(client, ADAPTER["seriesQuery"])
        (queue,) = query(client, QUERIES["prometheus-adapter"])
        assert queue["metric"] == {"pod": "tandem-1"}
        assert 0 <= float(queue["value"][1]) < 1
        wait_for(lambda: [series["value"][1] for series in query(client, 'up{job="tandem"}')] == ["1"])
        wait_for(lambda: states(client) == {rule["alert"]: ("ok", "inactive") for rule in RULES})


def states(client: httpx.Client) -> dict[str, tuple[str, str]]:
    """Health and state of each alert; those about times may be pending on a busy machine."""
    rules = [rule for group in client.get("/api/v1/rules").json()["data"]["groups"] for rule in group["rules"]]
    return {rule["name"]: (rule["health"], "inactive" if is_pending_as_busy(rule) else rule["state"]) for rule in rules}


def is_pending_as_busy(rule: dict[str, Any]) -> bool:
    return rule["name"] in ("TandemQueueLong", "TandemSlow") and rule["state"] == "pending"
