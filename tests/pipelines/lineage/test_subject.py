from types import SimpleNamespace

from pipelines.artifacts import paths
from pipelines.lineage import subject
from tests.pipelines.synthetic import write_json


def test_a_damaged_bundle_is_no_reason_not_to_find_another_version(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(paths.CHAMPION / "champion.json", {"version": "2"})
    version = SimpleNamespace(version="1", tags={"sha256": "a" * 64})
    assert subject._known([version]) == {"1": "a" * 64}
