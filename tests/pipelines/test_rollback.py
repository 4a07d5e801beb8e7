"""`python -m pipelines.rollback`: bundle and alias together, its history, and what `promote` makes of it."""

import json
import shutil
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta

import mlflow
import pytest

from models.errors import InputError
from pipelines import registry, rollback
from pipelines.artifacts import bundle, paths
from pipelines.doctor import mlflow_store
from pipelines.promote import __main__ as promote
from pipelines.tracking import location, model_registry, promotion_history, relocation
from serving.inference import champion as served_champion
from tests.pipelines import synthetic
from tests.pipelines.workspace import assert_one_error_line, run_main
from tests.serving.bundles import write_keys

CHANGES = {"frameworks": ["torch"], "architectures": ["cnn"]}


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """A workspace whose champion is version 3 of three; each replaced the one before."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("workspace")
        settings = synthetic.enter(folder, patch, CHANGES)
        for strength in (0.1, 1.0, 10.0):
            promote_graph(settings, strength, replace="always")
    return folder, settings


@pytest.fixture
def settings(promoted, tmp_path, monkeypatch):
    """Parameters of a copy of it, which is the working directory."""
    shutil.copytree(promoted[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    # MLflow remembers the artifact folder of each run; in this process it would be that of the original.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    relocation.main()
    return promoted[1]


def promote_graph(settings, strength, accuracy=1.0, **changes):
    shutil.rmtree(paths.exports("torch-cnn"), ignore_errors=True)
    synthetic.write_candidate("torch-cnn", strength=strength)
    synthetic.write_metrics("torch-cnn", accuracy=accuracy)
    config = settings.promote.model_copy(update=changes)
    promote.promote(settings.candidates, config, "cpu", settings.tracking.experiment)


def version():
    """Of the champion: in the bundle, and by the alias."""
    manifest = json.loads((paths.CHAMPION / "champion.json").read_text("utf-8"))
    return manifest["version"], model_registry.get_version("tandem", "champion").version


def state():
    """Everything that a rollback changes."""
    files = {path.name: path.read_bytes() for path in paths.CHAMPION.iterdir()}
    return files, version(), [version.tags for version in model_registry.list_versions("tandem")]


def run(*arguments):
    return run_main(rollback.main, *arguments)


def test_the_history_of_no_store_creates_none(settings):
    (store := location.database()).unlink()
    assert run("--list").stdout == "no promotions yet\n"
    assert not store.exists()


def test_bundle_and_alias_go_back_and_the_history_names_each_step(settings):
    done = run("--reason", "wrong for\n5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "champion: torch-cnn, version 2 of tandem; version 3 is rolled back"
    assert version() == ("2", "2")
    assert mlflow_store.check_champion().status == "ok"
    assert run("--reason", "slow").returncode == 0
    assert version() == ("1", "1")
    message = "no champion before version 1 of tandem is left that was not rolled back; name one of the versions "
    assert_one_error_line(run("--reason", "x"), f"{message}2 (rolled back: slow), 3 (rolled back: wrong for 5)")
    lines = run("--list").stdout.splitlines()
    assert [line.split()[2:5] for line in lines[2:]] == [
        ["1", "torch-cnn", "-"],
        ["2", "torch-cnn", "1"],
        ["3", "torch-cnn", "2"],
        ["2", "torch-cnn", "3"],
        ["1", "torch-cnn", "2"],
    ]
    assert lines[5].endswith("rollback: wrong for 5")
    assert lines[4].split()[5:8] == ["wrong", "for", "5"]
    assert lines[3].split()[5] == "slow"


@pytest.mark.parametrize(
    ("command", "champion", "replaced"),
    [
        (lambda settings: promote_graph(settings, 100.0, replace="always"), "4", "2"),
        (lambda _: rollback.roll_back("tandem", None, "of the second"), "1", "2"),
        (lambda _: registry.fetch("tandem", "champion", paths.CHAMPION), "2", "3"),
    ],
)
def test_the_second_of_two_commands_at_once_decides_by_the_champion_of_the_first(settings, command, champion, replaced):
    with ThreadPoolExecutor(1) as pool:
        with bundle.locked(paths.CHAMPION):
            second = pool.submit(command, settings)
            wait([second], timeout=2)
            assert not second.done()
            rollback.roll_back("tandem", None, "of the first")
        second.result()
    assert version() == (champion, champion)
    assert promotion_history.events(model_registry.list_versions("tandem"))[-1].replaces == replaced


def test_a_clock_that_is_behind_does_not_change_the_order_of_the_history(settings, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    monkeypatch.setattr(promotion_history, "datetime", Clock)
    promote_graph(settings, 100.0, replace="always")
    history = promotion_history.events(model_registry.list_versions("tandem"))
    assert [(event.version, event.replaces) for event in history] == [("1", None), ("2", "1"), ("3", "2"), ("4", "3")]
    assert run("--reason", "x").returncode == 0
    assert version() == ("3", "3")


def test_a_rollback_that_was_killed_between_alias_and_bundle_is_completed(settings, tmp_path):
    shutil.copytree(paths.CHAMPION, tmp_path / "before")
    assert run("--reason", "x").returncode == 0
    after = state()
    shutil.rmtree(paths.CHAMPION)
    shutil.copytree(tmp_path / "before", paths.CHAMPION)
    assert (version(), mlflow_store.check_champion().status) == (("3", "2"), "warning")
    done = run("--reason", "x")
    assert done.stdout == "champion: version 2 of tandem; the interrupted rollback to it is complete\n"
    assert state() == after


def test_promote_rejects_what_was_rolled_back_until_it_is_allowed(settings):
    run("--reason", "wrong for 5")
    before = state()
    sha256 = model_registry.list_versions("tandem")[2].tags["sha256"]
    message = r"no candidate passes.*torch-cnn: rolled back as version 3: wrong for 5; promote.allow_rolled_back"
    with pytest.raises(InputError, match=message):
        promote_graph(settings, 10.0)
    assert state() == before
    promote_graph(settings, 10.0, allow_rolled_back=(sha256,))
    assert version() == ("4", "4")
    promote_graph(settings, 10.0)  # it is the champion
    assert version() == ("4", "4")


def test_a_version_that_was_rolled_back_is_restored_only_by_its_number(settings):
    run("--reason", "wrong for 5")
    run("3", "--reason", "not wrong")
    assert version() == ("3", "3")
    run("--reason", "again")
    assert version() == ("1", "1")
    run("3", "--reason", "not wrong")
    message = "no champion before version 3 of tandem is left that was not rolled back; name one of the versions "
    assert_one_error_line(run("--reason", "x"), f"{message}1 (rolled back: not wrong), 2 (rolled back: not wrong)")
    promote_graph(settings, 10.0)  # the graph of version 3, which is allowed again
    assert version() == ("3", "3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no reason given; give --reason TEXT"),
        (("--reason", " "), "no reason given"),
        (("3", "--reason", "x"), "version 3 of tandem is the champion; name one of the versions 1, 2"),
        (("9", "--reason", "x"), "version 9 of tandem does not exist; name one of the versions 1, 2"),
    ],
)
def test_wrong_arguments_change_nothing(settings, arguments, words):
    before = state()
    assert_one_error_line(run(*arguments), words)
    assert state() == before


def test_with_a_key_what_becomes_champion_is_signed(settings, tmp_path, monkeypatch):
    write_keys(tmp_path, "private", "public")

    def served(folder):
        return served_champion.load(folder, "cpu", verify_key=tmp_path / "public").version

    with pytest.raises(InputError, match="not signed, which TANDEM_VERIFY_KEY requires"):
        served(paths.CHAMPION)
    with monkeypatch.context() as patch:
        patch.setenv("TANDEM_SIGNING_KEY", str(tmp_path / "private"))
        promote_graph(settings, 10.0)  # no event, but it was not signed yet
        assert (served(paths.CHAMPION), version()) == ("3", ("3", "3"))
        assert run("--reason", "x").returncode == 0
        assert served(paths.CHAMPION) == "2"
        promote_graph(settings, 100.0)
        assert served(paths.CHAMPION) == "4"
    registry.fetch("tandem", "champion", tmp_path / "fetched")
    assert served(tmp_path / "fetched") == "4"
    before = state()
    assert_one_error_line(run("1", "--reason", "x"), "artifacts/champion has a signed bundle, the new one is not")
    assert state() == before


def test_a_damaged_bundle_of_the_workspace_is_replaced(settings):
    file = paths.CHAMPION / "champion.json"
    content = json.loads(file.read_text("utf-8"))
    del content["provenance"]
    file.write_text(json.dumps(content), "utf-8")
    assert run("--reason", "x").returncode == 0
    assert version() == ("2", "2")


@pytest.mark.parametrize("damage", ["model", "manifest", "example", "missing"])
def test_a_bundle_that_is_not_what_was_registered_changes_nothing(settings, damage):
    target = model_registry.list_versions("tandem")[1]
    (manifest,) = location.artifacts().rglob("champion/2/champion.json")
    if damage == "model":
        for model in location.artifacts().rglob("model.onnx"):
            model.write_bytes(model.read_bytes()[:-1] + b"\1")
    elif damage == "missing":
        manifest.unlink()
    else:
        content = json.loads(manifest.read_text("utf-8"))
        if damage == "manifest":
            content["model"] = {"file": f"{'a' * 64}.onnx", "sha256": "a" * 64}
        else:
            content["example"]["outputs"][0].reverse()
        manifest.write_text(json.dumps(content), "utf-8")
    before = state()
    assert_one_error_line(run(target.version, "--reason", "x"))
    assert state() == before


@pytest.mark.parametrize("call", ["set_registered_model_alias", "set_model_version_tag"])
def test_a_store_that_fails_changes_nothing(settings, monkeypatch, call):
    before, works = state(), getattr(mlflow.MlflowClient, call)
    calls = []

    def fail(client, *arguments):
        calls.append(arguments)
        if len(calls) == (1 if "alias" in call else 2):
            raise mlflow.MlflowException("no space left")
        works(client, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, fail)
        assert_one_error_line(run("--reason", "x"), "no space left")
    assert state() == before


def test_a_replaced_folder_is_reported_with_the_command_that_restores_it(settings):
    content = json.loads((paths.CHAMPION / "champion.json").read_text("utf-8"))
    (paths.CHAMPION / "champion.json").write_text(json.dumps({**content, "version": "9"}), "utf-8")
    result = mlflow_store.check_champion()
    assert result.status == "warning"
    assert "artifacts/champion has version 9 (" in str(result)
    assert "models:/tandem@champion is version 3 (" in str(result)
    assert "`python -m pipelines.registry models:/tandem@champion artifacts/champion` restores version 3" in str(result)
    next(paths.CHAMPION.glob("*.onnx")).write_bytes(b"other")
    assert "SHA-256 is" in str(mlflow_store.check_champion())
    shutil.rmtree(paths.CHAMPION)
    assert "no bundle in artifacts/champion; `python -m pipelines.registry" in str(mlflow_store.check_champion())
