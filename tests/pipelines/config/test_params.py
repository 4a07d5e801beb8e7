import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from pipelines.artifacts import paths
from pipelines.check import __main__ as check
from pipelines.config import compatibility, params
from pipelines.train import __main__ as train
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_stage, write_params

TEXT = (REPOSITORY / "params.yaml").read_text("utf-8")
SEED_LINE = TEXT[: TEXT.index("  seed: 0\n")].count("\n") + 1
TRACKING = TEXT[TEXT.index("tracking:\n") :]

REFUSED = {
    # change in the text of params.yaml: (before, after), then what the message must say
    "misspelt key": (("epochs: 20", "epochss: 20"), ["train.epochss: unknown key", "did you mean 'epochs'?"]),
    "tie of candidates": (
        ("  significance: 0.05 ", "  tie: 0.001 "),
        ["promote.tie: no longer a parameter; use promote.significance", "promote.significance: missing"],
    ),
    "calibration examples": (
        ("calibration: temperature", "calibration: 500"),
        ["export.calibration: the number of examples is export.int8.examples; allowed: temperature, none"],
    ),
    "unknown calibration": (("calibration: temperature", "calibration: platt"), ["allowed: 'temperature' or 'none'"]),
    "unknown metric": (
        ("metric: auto", "metric: auc"),
        ['promote.metric = "auc"; allowed: auto, accuracy, balanced_ac'],
    ),
    "missing key": (("  epochs: 20\n", ""), ["train.epochs: missing"]),
    "text for a number": (("epochs: 20", "epochs: '30'"), ['train.epochs = "30"; allowed: a whole number']),
    "truth for a number": (("epochs: 20", "epochs: true"), ["train.epochs = true; allowed: a whole number"]),
    "null for a number": (("epochs: 20", "epochs: null"), ["train.epochs = null; allowed: a whole number"]),
    "fraction for a count": (("epochs: 20", "epochs: 30.5"), ["train.epochs = 30.5; allowed: a whole number"]),
    "number for a truth": (("flip: false", "flip: 0"), ["train.augment.flip = 0; allowed: true or false"]),
    "learning rate 0": (("rate: 0.01", "rate: 0"), ["train.learning_rate = 0; allowed: greater than 0"]),
    "negative learning rate": (("rate: 0.01", "rate: -1e-3"), ["train.learning_rate = -0.001; allowed: greater than"]),
    "learning rate not a number": (("rate: 0.01", "rate: .nan"), ["train.learning_rate = .nan; allowed: a finite"]),
    "infinite learning rate": (("rate: 0.01", "rate: .inf"), ["train.learning_rate = .inf; allowed: a finite"]),
    "dropout over 1": (("dropout: 0.2", "dropout: 1.5"), ["models.mlp.dropout = 1.5; allowed: less than 1"]),
    "dropout not a number": (("dropout: 0.2", "dropout: .nan"), ["models.mlp.dropout = .nan; allowed: less than 1"]),
    "splits over 1": (("validation: 0.15", "validation: 0.9"), ["prepare: validation + test = 1.05; allowed: less"]),
    "too many bins": (
        ("calibration_bins: 15", "calibration_bins: 1000000000000"),
        ["evaluate.calibration_bins = 1000000000000; allowed: less than or equal to 1000"],
    ),
    "empty split": (("validation: 0.15", "validation: 0"), ["prepare.validation = 0; allowed: greater than 0"]),
    "unknown source": (("source: digits", "source: digit"), ['data.source = "digit"; allowed: digits, fashion_mnist']),
    "unknown candidate": (
        ("devices: {}", "devices: {tourch: cpu}"),
        ["train.devices.tourch: unknown key; allowed: torch, keras, torch-linear, torch-mlp, torch-cnn, torch-resnet"],
    ),
    "unknown device of a candidate": (
        ("devices: {}", "devices: {torch-cnn: gpu}"),
        ['train.devices.torch-cnn = "gpu"; allowed: auto, cpu, cuda, or cuda:N for GPU number N'],
    ),
    "unknown framework": (("[torch, keras]", "[torch, jax]"), ["frameworks.1 = \"jax\"; allowed: 'torch' or 'keras'"]),
    "no framework": (("[torch, keras]", "[]"), ["frameworks = []; allowed: a list of at least one"]),
    "framework twice": (("[torch, keras]", "[torch, torch]"), ["frameworks: torch more than once; allowed: each once"]),
    "framework not in a list": (("[torch, keras]", "torch"), ['frameworks = "torch"; allowed: a list']),
    "unknown architecture": (
        ("[mlp, cnn]", "[mlp, vgg]"),
        ['architectures.1 = "vgg"; allowed: linear, mlp, cnn, resnet'],
    ),
    "architecture twice": (("[mlp, cnn]", "[cnn, cnn]"), ["architectures: cnn more than once; allowed: each once"]),
    "unknown optimizer": (("optimizer: adamw", "optimizer: lamb"), ["train.optimizer = \"lamb\"; allowed: 'sgd'"]),
    "unknown loss": (("loss: auto", "loss: dice"), ['train.loss = "dice"; allowed: auto, cross_entropy, ']),
    "path with a tilde": (("path: data", "path: ~/houses.csv"), ['data.path = "~/houses.csv"', "does not expand ~"]),
    "unknown encoding": (("encoding: null", "encoding: ansi2"), ['data.encoding = "ansi2"', "such as utf-8"]),
    "encoding of no text": (("encoding: null", "encoding: hex"), ['data.encoding = "hex"', "such as utf-8"]),
    "unknown separator": (("separator: null", "separator: ';'"), ['data.separator = ";"', "'semicolon'"]),
    "empty path": (("path: data", "path: ''"), ['data.path = ""; allowed: text of at least one character']),
    "size of one side": (("size: null", "size: [8]"), ["data.size.1: missing"]),
    "no pixels": (("size: null", "size: [8, 0]"), ["data.size.1 = 0; allowed: greater than or equal to 1"]),
    "two channels": (("channels: null", "channels: 2"), ["data.channels = 2; allowed: 1 or 3"]),
    "more pixels than Pillow reads": (
        ("max_pixels: null", "max_pixels: 200000000"),
        ["data.max_pixels = 200000000; allowed: less than or equal to 178956970"],
    ),
    "all unreadable": (("unreadable: null", "unreadable: 1"), ["data.unreadable = 1; allowed: less than 1"]),
    "weight of zero": (
        ("class_weights: null", "class_weights: [1, 0]"),
        ["train.class_weights = [1, 0]; allowed: null, balanced, or a list of one number above 0 for each class"],
    ),
    "weights that are text": (("class_weights: null", "class_weights: equal"), ['train.class_weights = "equal"; all']),
    "batch size twice": (("[1, 32, 256]", "[1, 32, 1]"), ["evaluate.latency_batches: 1 more than once; allowed: each"]),
    "nesterov with adamw": (("nesterov: false", "nesterov: true"), ["train: nesterov = true with optimizer = 'adamw'"]),
    "slash in the registered name": (
        ("model_name: tandem", "model_name: team/tandem"),
        ['promote.model_name = "team/tandem"; allowed: a name without / and :'],
    ),
    "negative seed": (("seed: 0", "seed: -1"), ["prepare.seed = -1; allowed: greater than or equal to 0"]),
    "missing section": ((TRACKING, ""), ["tracking: missing"]),
    "empty section": ((TRACKING, "tracking:\n"), ["tracking = null; allowed: a section with keys"]),
    "no mapping": (("  devices: {}", "  devices: cpu"), ['train.devices = "cpu"; allowed: a section with keys']),
    "unknown section": (("tracking:", "trackin:"), ["trackin: unknown key; did you mean 'tracking'?"]),
    "key that is no text": (("dropout: 0.2", "dropout: 0.2\n    1: 2"), ["models.mlp.1: unknown key"]),
    "unknown correction": (("bonferroni    #", "holm    #"), ["drift.correction = \"holm\"; allowed: 'bonferroni', "]),
    "no distance counts": (("distance: 0.1", "distance: 1"), ["drift.distance = 1; allowed: less than 1"]),
    "more rows wanted than read": (("rows: 10000", "rows: 100"), ["drift: minimum_rows = 200; allowed: at most rows"]),
    "duplicate key": (
        ("  seed: 0\n", "  seed: 0\n  seed: 1\n"),
        ["not valid YAML", f"line {SEED_LINE + 1}", 'duplicate key "seed"'],
    ),
    "not YAML": (("data:", "data: ["), ["not valid YAML: line "]),
    "python tag": (("experiment: tandem", "experiment: !!python/object:os.system x"), ["not valid YAML: line "]),
}


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        params.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "pydantic" not in text
    assert "ruamel" not in text
    return text


def test_the_repository_s_own_file_is_accepted() -> None:
    read = params.read(REPOSITORY / "params.yaml")
    assert read.candidates == ("torch-mlp", "torch-cnn", "keras-mlp", "keras-cnn")


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_value_is_rejected_by_name(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in TEXT
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(*change, 1), "utf-8")
    found = message(path)
    for word in words:
        assert word in found


@pytest.mark.parametrize("content", [b"", b"hello", b"- 1\n- 2\n", b"\xff\xfe\x00", b"a: \x00"])
def test_content_that_is_not_a_section_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert "allowed: a section with keys" in message(path) or "not valid YAML" in message(path)


@pytest.mark.parametrize("value", ["2026-02-30", "2024-01-01T99:99:99Z", "0x_", "!!int abc", "!!bool 1", "!!float ''"])
def test_a_value_that_is_not_valid_for_its_type_is_rejected_by_its_place(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("  seed: 0\n", f"  seed: {value}\n", 1), "utf-8")
    assert message(path).startswith(f"{path}: not valid YAML: line {SEED_LINE}, column 9: not a valid ")


@pytest.mark.parametrize("value", ["&x [*x]", "&x {a: *x}", "{2026-02-28: 1}", "{[1]: 1}"])
def test_a_value_that_json_does_not_have_is_rejected_by_name(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("epochs: 20", f"epochs: {value}"), "utf-8")
    assert "train.epochs = " in message(path)


def test_a_long_value_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("epochs: 20", f"epochs: {list(range(1000))}"), "utf-8")
    assert len(message(path)) < len(str(path)) + 300


@pytest.mark.parametrize(
    ("content", "problem"), [("- " * 1000, "nested too deeply"), ('"\\UFFFFFFFF"', "not valid YAML")]
)
def test_content_that_cannot_be_parsed_is_rejected(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content, "utf-8")
    assert problem in message(path)


def test_an_item_that_is_wrong_is_named_once(tmp_path: Path) -> None:
    path = write_params(tmp_path, {"models.cnn.channels": [0]})
    assert message(path) == f"{path}: models.cnn.channels.0 = 0; allowed: greater than or equal to 1"


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    found = message(write_params(tmp_path, {"train.epochs": 0, "data.source": "imagenet"}))
    assert "train.epochs = 0" in found
    assert 'data.source = "imagenet"' in found


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("learning_rate: 0.01", "learning_rate: 1e-3"), "utf-8")
    assert params.read(path).train.learning_rate == 0.001


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    assert "run from the root of the repository" in message(tmp_path / "params.yaml")


def test_an_optimizer_that_one_framework_does_not_have_is_refused_before_any_work(tmp_path: Path) -> None:
    write_params(tmp_path, {"train.optimizer": "lbfgs"})
    assert_one_error_line(
        run_stage("check", tmp_path),
        "train.optimizer = 'lbfgs': not available in keras; allowed: ",
        "sgd, adam, ",
        "; or remove keras from frameworks",
    )
    write_params(tmp_path, {"train.optimizer": "lbfgs", "frameworks": ["torch"], "architectures": ["linear"]})
    assert run_stage("check", tmp_path).returncode == 0


DEVICES = {"train.device": "cpu", "train.devices": {"torch-cnn": "cuda:1", "torch": "cuda", "keras-mlp": "auto"}}


def test_a_candidate_has_a_device_of_its_own(tmp_path: Path) -> None:
    settings = params.read(write_params(tmp_path, DEVICES))
    expected = {
        "torch-cnn": ("train.devices.torch-cnn", "cuda:1"),
        "torch-mlp": ("train.devices.torch", "cuda"),
        "keras-mlp": ("train.devices.keras-mlp", "auto"),
        "keras-cnn": ("train.device", "cpu"),
    }
    for framework, architecture in settings.pairs:
        config = settings.for_candidate(framework, architecture).train
        assert (config.device_parameter, config.device) == expected[f"{framework}-{architecture}"]


def test_a_gpu_of_one_candidate_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "has_nvidia_driver", lambda: False)
    settings = params.read(write_params(tmp_path, DEVICES | {"frameworks": ["keras"]}))
    compatibility.require_devices(settings)  # none of the candidates is of torch
    settings = params.read(write_params(tmp_path, DEVICES | {"architectures": ["cnn"]}))
    with pytest.raises(InputError, match=r"train\.devices\.torch-cnn = 'cuda:1': there is no NVIDIA driver here"):
        compatibility.require_devices(settings)
    settings = params.read(write_params(tmp_path, {"train.precision": "float16"}))
    with pytest.raises(InputError, match=r"train\.precision = 'float16' is for GPUs.*; allowed here: auto, float32, b"):
        compatibility.require_devices(settings)


def test_the_stage_trains_on_the_device_of_the_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    synthetic.enter(tmp_path, monkeypatch, DEVICES)
    monkeypatch.setattr(sys, "argv", ["train", "--framework", "torch", "--architecture", "cnn"])
    with pytest.raises(InputError, match=r"^train\.devices\.torch-cnn = 'cuda:1': .*; allowed here: auto, cpu$"):
        train.main()


@pytest.mark.parametrize(
    ("changes", "framework", "architecture", "examples", "words"),
    [
        ({"train.optimizer": "asgd"}, "keras", "mlp", 99, "train.optimizer = 'asgd': not available in keras; "),
        (
            {"train.batch_size": 2},
            "keras",
            "resnet",
            99,
            "train.batch_size = 2: models.resnet.normalization = 'batch' ",
        ),
        ({}, "torch", "mlp", 1, "'digits' has 1 example to train on: models.mlp.normalization = 'batch' needs two "),
    ],
)
def test_a_stage_started_on_its_own_rejects_it_as_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    framework: str,
    architecture: str,
    examples: int,
    words: str,
) -> None:
    ends_as_one_place = {"models.resnet.channels": [4, 4, 4, 4], "models.mlp.normalization": "batch"}
    synthetic.enter(tmp_path, monkeypatch, ends_as_one_place | changes)
    for name, array in zip(("inputs", "targets"), synthetic.digits()["train"], strict=True):
        np.save(paths.split("train") / f"{name}.npy", array[:examples])
    monkeypatch.setattr(sys, "argv", ["train", "--framework", framework, "--architecture", architecture])
    with pytest.raises(InputError) as caught:
        train.main()
    assert str(caught.value).startswith(words)


TABLE = {"data.source": "iris", "architectures": ["mlp"]}
MISFITS = {
    "images only": (TABLE | {"architectures": ["mlp", "cnn"]}, "architecture 'cnn' does not fit 'iris': its examples "),
    "too small": ({"models.cnn.channels": [8, 8, 8, 8]}, "halves images 4 times, which needs 16x16; 'digits' has 8x8"),
    "too small a size of one's own": (
        {"data.source": "image_folder", "data.size": [8, 2]},
        "models.cnn halves images 2 times, which needs 4x4; 'image_folder' has 8x2",
    ),
    "a loss of regressions": (
        {"train.loss": "huber"},
        "train.loss = 'huber' does not fit 'digits', a classification; ",
    ),
    "a loss of classifications": (
        TABLE | {"data.source": "csv", "data.task": "regression", "train.loss": "hinge"},
        "train.loss = 'hinge' does not fit 'csv', a regression; allowed: auto, mse, l1, huber",
    ),
    "weights of no classes": (
        TABLE | {"data.source": "line", "train.class_weights": "balanced"},
        "train.class_weights does not fit 'line', a regression; allowed: null",
    ),
    "order and groups": (
        {"prepare.order": "day", "prepare.group_duplicates": True},
        "prepare: order = 'day' with group or group_duplicates; allowed: one of them",
    ),
    "groups without columns": (
        {"prepare.group": "customer"},
        "prepare.group = 'customer': only the source csv has such columns; allowed: null",
    ),
    "groups by a name of two lines": ({"prepare.group": "a\nb"}, r"prepare.group = 'a\nb': only the source csv "),
    "order by a name of two lines": (
        {"prepare.order": "a\nb", "prepare.group_duplicates": True},
        r"prepare: order = 'a\nb' with group or group_duplicates",
    ),
    "a metric of classifications": (
        TABLE | {"data.source": "line", "promote.metric": "macro_f1"},
        "promote.metric = 'macro_f1' does not apply to 'line', a regression; allowed: auto, r2, mae",
    ),
    "dropout with L-BFGS": (
        TABLE | {"frameworks": ["torch"], "train.optimizer": "lbfgs"},
        "train.optimizer = 'lbfgs' evaluates each batch several times, but models.mlp has dropout = 0.2 and "
        "normalization = 'none'",
    ),
    "batch normalisation with L-BFGS": (
        {"frameworks": ["torch"], "train.optimizer": "lbfgs", "models.mlp.dropout": 0.0, "models.cnn.dropout": 0.0},
        "but models.cnn has dropout = 0 and normalization = 'batch'",
    ),
    "batches of one": (
        {"models.mlp.normalization": "batch", "train.batch_size": 1},
        "train.batch_size = 1: models.mlp.normalization = 'batch' needs two examples in every batch, which may differ "
        "by one; allowed: at least 3, or models.mlp.normalization layer or none",
    ),
    "images that end as one place": (
        {"architectures": ["resnet"], "models.resnet.channels": [4, 4, 4, 4], "train.batch_size": 2},
        "train.batch_size = 2: models.resnet.normalization = 'batch' needs two examples in every batch",
    ),
    "a table's option": ({"data.target": "price"}, "data.target = 'price': digits does not use it; allowed: null"),
    "a folder that is not used": ({"data.path": "photos"}, "data.path = 'photos': digits does not use it"),
    "a size that is not used": (TABLE | {"data.size": [8, 8]}, "data.size = [8, 8]: iris does not use it"),
    "no size": ({"data.source": "image_folder"}, "data.size = null: image_folder needs it; allowed: [height, width]"),
    "no target": (TABLE | {"data.source": "csv"}, "data.target = null: csv needs it; allowed: the name of a column"),
    "no file": (
        TABLE | {"data.source": "csv", "data.target": "y"},
        "data.path = data; allowed: a file that ends in .csv, .tsv, .parquet",
    ),
    "a missing file": (
        TABLE | {"data.source": "csv", "data.target": "y", "data.path": "sales.csv"},
        "data.path = 'sales.csv': does not exist; allowed: an existing file or folder",
    ),
    "a file in place of a folder": (
        {"data.source": "image_folder", "data.size": [8, 8], "data.path": "params.yaml"},
        "data.path = 'params.yaml': a file; allowed: a folder with a folder for each class",
    ),
    "too few class weights": (
        {"train.class_weights": [1, 2]},
        "the length of train.class_weights is 2; allowed: 10, a number for each class of 'digits'",
    ),
    "a shift out of the image": (
        {"train.augment.shift": 8},
        "train.augment.shift = 8: 'digits' has images of 8x8; allowed: at most 7",
    ),
    "images beyond memory": (
        {"data.source": "image_folder", "data.size": [1_000_000, 1_000_000], "architectures": ["linear"]},
        "data.size needs at least 3,725 GiB in float32; this machine has ",
    ),
    "layers beyond memory": ({"models.mlp.hidden": [9_000_000, 9_000_000]}, "models.mlp needs at least 301,751 GiB"),
    "more layers than a float has bytes for": (
        {"models.cnn.dense": 10**400},
        "models.cnn needs at least 1,125,899,906,",
    ),
    "channels beyond memory": ({"models.cnn.channels": [900_000, 900_000]}, "models.cnn needs at least "),
    "batches beyond memory": (
        {"evaluate.latency_batches": [1, 10**12]},
        "evaluate.latency_batches needs at least 238,419 GiB",
    ),
    "shifted columns": (TABLE | {"train.augment.shift": 1}, "train.augment: 'iris' is a table; allowed: shift = 0"),
}


@pytest.mark.parametrize(("changes", "words"), MISFITS.values(), ids=MISFITS)
def test_incompatible_settings_are_rejected_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    write_params(tmp_path, changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        check.main()
    assert words in str(caught.value)
    assert not Path("artifacts").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("raw/sales.csv.dvc", ""), ("dvc.lock", "deps:\n    - path: raw/sales.csv\n      md5: a\n")]
)
def test_a_path_that_dvc_knows_need_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    """As with `dvc repro --pull` or `--allow-missing`."""
    settings = params.read(write_params(tmp_path, TABLE | {"data.source": "csv", "data.path": "raw/sales.csv"}))
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    Path("dvc.lock").write_text("deps:\n    - path: raw/sales.csv2\n", "utf-8")
    with pytest.raises(InputError, match="does not exist"):
        settings.data.require_path()
    Path(name).write_text(content, "utf-8")
    settings.data.require_path()


def test_settings_that_depend_on_the_data_are_not_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"data.source": "csv", "data.target": "y", "data.path": "sales.csv", "train.loss": "hinge"}
    write_params(tmp_path, TABLE | changes)
    monkeypatch.chdir(tmp_path)
    Path("sales.csv").touch()
    check.main()


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["cnn"], "train.batch_size": 1},
        {"architectures": ["resnet"], "train.batch_size": 1},
        {"architectures": ["resnet"], "models.resnet.channels": [4] * 4, "train.batch_size": 3},
        {"architectures": ["linear", "mlp"], "train.batch_size": 1},
        {"architectures": ["mlp"], "models.mlp.normalization": "layer", "train.batch_size": 1},
        {"architectures": ["mlp"], "models.mlp.normalization": "batch", "models.mlp.hidden": [], "train.batch_size": 1},
        {"data.source": "image_folder", "architectures": ["resnet"], "train.batch_size": 1},
    ],
)
def test_small_batches_are_refused_only_where_they_are_normalised_to_nothing(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    compatibility.require_compatible(params.read(write_params(tmp_path, changes)))
