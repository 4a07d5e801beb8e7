import pytest

from models.errors import InputError
from pipelines.check import __main__ as check
from pipelines.check import bytecode
from pipelines.config import overrides, params
from pipelines.config.sweep import SearchSpace
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, write_params

RATE = "train.learning_rate"


@pytest.fixture(scope="module")
def settings():
    return params.read(REPOSITORY / "params.yaml")


def read(folder, name, value):
    found = params.read(write_params(folder, {f"sweep.{name}": value}))
    overrides.require_sweep(found)
    return found.sweep


@pytest.mark.parametrize(
    ("name", "space", "words"),
    [
        ("train.lerning_rate", {"low": 1, "high": 2}, "unknown parameter; did you mean 'train.learning_rate'?"),
        ("train", {"choices": [1, 2]}, "unknown parameter"),
        ("prepare.seed", {"choices": [1, 2]}, "allowed: dotted names of parameters of train and models"),
        ("train.seed", {"low": 1, "high": 2}, "cannot be searched"),
        ("train.device", {"choices": ["cpu", "cuda"]}, "cannot be searched"),
        ("train.devices.keras", {"choices": ["cpu", "cuda"]}, "cannot be searched"),
        (RATE, {"low": 2, "high": 1}, "low = 2 and high = 1; allowed: low below high"),
        (RATE, {"low": 1, "high": 1}, "allowed: low below high"),
        (RATE, {"low": 0, "high": 1}, "train.learning_rate = 0; allowed: greater than 0"),
        (RATE, {"low": 0, "high": 1, "log": True}, "log = true with low = 0; allowed: low above 0"),
        (RATE, {"low": "a", "high": 1}, 'low = "a"; allowed: a finite number'),
        (RATE, {"low": 0.1, "high": float("inf")}, "high = .inf; allowed: a finite number"),
        (RATE, {"low": 0.1}, "allowed: low and high, or choices"),
        (RATE, {"lo": 0.1, "high": 1.0}, "lo: unknown key; did you mean 'low'?"),
        ("models.mlp.dropout", {"low": 0.0, "high": 1.0}, "models.mlp.dropout = 1.0; allowed: less than 1"),
        ("train.batch_size", {"low": 1.5, "high": 8}, "train.batch_size = 1.5; allowed: a whole number"),
        ("train.optimizer", {"choices": ["adam", "adamm"]}, 'train.optimizer = "adamm"; allowed: '),
        ("train.optimizer", {"choices": ["adam"]}, "allowed: a list of at least two values, each once"),
        ("train.optimizer", {"choices": ["adam", "adam"]}, "allowed: a list of at least two values, each once"),
        ("train.optimizer", {"choices": ["adam", "sgd"], "log": True}, "allowed: one of both"),
        ("models.cnn.channels", {"choices": [[8], [0]]}, "models.cnn.channels.0 = 0; allowed: "),
    ],
)
def test_wrong_names_and_impossible_ranges_are_rejected_in_one_line(tmp_path, name, space, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, "parameters", {name: space})
    message = str(caught.value)
    assert f"sweep.parameters.{name}" in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("parameters", {}, "allowed: at least one parameter"),
        ("trials", 0, "sweep.trials = 0"),
        ("workers", 0.5, "sweep.workers = 0.5"),
        ("warmup", 1.0, "sweep.warmup = 1.0"),
        ("storage", "sqlite:///sweep.db", "allowed: null, or postgresql://"),
        ("storage", "postgresql://ann@host", "allowed: null, or postgresql://"),
        ("storage", "postgresql://ann:secret@host/sweeps", "allowed: a URL without a password"),
    ],
)
def test_other_wrong_values_are_rejected(tmp_path, name, value, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, name, value)


def test_a_value_that_needs_another_one_is_left_to_the_trial(tmp_path, settings):
    """Nesterov's momentum exists for one optimizer only."""
    space = {"train.nesterov": {"choices": [True, False]}, "train.optimizer": {"choices": ["adam", "sgd"]}}
    assert set(read(tmp_path, "parameters", space).parameters) == set(space)
    with pytest.raises(InputError, match="nesterov = true with optimizer = 'adam'"):
        overrides.replace(settings, {"train.nesterov": True, "train.optimizer": "adam"})
    changed = overrides.replace(settings, {"train.nesterov": True, "train.optimizer": "sgd"})
    assert changed.train.nesterov
    assert changed.model_copy(update={"train": settings.train}) == settings


def test_the_stage_check_checks_the_search_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bytecode, "compile_missing", lambda: None)
    write_params(tmp_path, {"sweep.parameters": {"train.rate": {"low": 1, "high": 2}}})
    assert_one_error_line(run_main(check.main), "sweep.parameters.train.rate: unknown parameter")


def test_a_candidate_has_no_parameters_of_other_architectures(settings):
    names = set(settings.sweep.space("cnn"))
    assert {"models.cnn.dropout", RATE} <= names
    assert not any(name.startswith(("models.mlp", "models.resnet")) for name in names)


@pytest.mark.parametrize(
    ("space", "inside", "outside"),
    [
        ({"low": 1.0, "high": 2.0}, (1.0, 1.5, 2), (0.9, 2.1, None, True, "1.5")),
        ({"low": 1, "high": 3}, (1, 2.0, 3), (1.5, 0)),
        ({"choices": [None, 1.0, [8, 16]]}, (None, 1.0, [8, 16]), (2.0, [16, 8], 0)),
    ],
)
def test_values_within_a_search_space(space, inside, outside):
    space = SearchSpace.model_validate(space)
    assert all(space.contains(value) for value in inside)
    assert not any(space.contains(value) for value in outside)
