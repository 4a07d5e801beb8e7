"""The HTTP interface: bodies of requests and responses, with their field names and bounds, each stated once.

The handlers take names and bounds from here; the OpenAPI document and the schema of BentoML's typed client are
generated from here, the document by way of `model_schemas`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval
from pydantic import BaseModel, ConfigDict, Field

PIXEL_MAX = 255
FLOAT32_MAX = float(np.finfo(np.float32).max)
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}  # of the Open Inference Protocol, by NumPy's names

Pixel = Annotated[int, Interval(ge=0, le=PIXEL_MAX)]
Float32 = Annotated[float, Interval(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Base64 = Annotated[str, Field(json_schema_extra={"format": "byte"})]
TopK = Annotated[int | None, Field(description="number of labels to return, the most probable first; all by default")]


class Body(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class ProtocolBody(BaseModel):
    """An object of the Open Inference Protocol: other fields are ignored."""

    model_config = ConfigDict(extra="allow")


class Readiness(Body):
    """Readiness of a worker."""

    ready: bool
    registry_age_seconds: float = Field(
        0.0, ge=0, description="time since the last successful check of the model registry, where the champion is its"
    )


class Error(Body):
    """A rejected request: what was found and what is allowed."""

    error: str


class PredictRequest(Body):
    """A batch of raw examples: images as nested lists, table rows as lists or as objects by feature name."""

    inputs: list[Any]
    top_k: TopK = None


class Files(Body):
    """Image files."""

    files: list[Path]


class ImageOptions(Body):
    """Options of an image prediction, in the query string or in the form."""

    top_k: TopK = None
    # A default in the document would be sent by generated clients, in the query and in the form.
    pixels: Literal[0, 1] = Field(
        default_factory=lambda: 0, description="1 adds the images as the model reads them, uint8 in base64; usually 0"
    )


class ImageForm(ImageOptions, Files):
    """Image files (PNG, JPEG, WebP or BMP of any size and mode) and options.

    One image can also be the whole body, as `application/octet-stream` or `image/*`.
    """


class ModelVersion(Body):
    """The model that answered."""

    name: str
    version: str


class ClassPrediction(Body):
    """The most probable label, its probability, and probabilities by label."""

    label: str
    probability: float
    probabilities: dict[str, float]


class ValuePrediction(Body):
    """The name of the target and its predicted value."""

    target: str
    value: float


class PredictResponse(Body):
    """One prediction for each example, and the model."""

    predictions: list[dict[str, Any]]
    model: ModelVersion
    pixels: list[Base64] = Field([], description="the images as the model reads them, where requested")


class LayerValues(Body):
    """The output of one layer, scaled to bytes: 0 is the lowest value of `range` and 255 the highest."""

    name: str
    operator: str
    shape: list[int]
    shown: list[int] = Field(description="maps, height and width of `values`", min_length=3, max_length=3)
    range: list[float] = Field(min_length=2, max_length=2)
    values: Base64


class ActivationsResponse(Body):
    """The outputs of the layers for one image. Large layers are subsampled: for display, not for computation."""

    layers: list[LayerValues]
    model: ModelVersion


class ServerMetadata(ProtocolBody):
    """Name and version of the server, and its extensions of the protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(ProtocolBody):
    """Name, datatype and shape of a tensor; -1 is the batch dimension."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(ProtocolBody):
    """The inputs and outputs of the model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(ProtocolBody):
    """Readiness of the model."""

    name: str
    version: str
    ready: bool


class ConfigTensor(ProtocolBody):
    """Name, datatype and shape of a tensor without the batch dimension."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(ProtocolBody):
    """The configuration of the model, as Triton has it."""

    name: str
    platform: str
    backend: str = "onnxruntime"
    default_model_filename: str
    max_batch_size: int
    input: list[ConfigTensor]
    output: list[ConfigTensor]
    dynamic_batching: dict[str, Any]


class Duration(ProtocolBody):
    """A number of requests and their total time in nanoseconds."""

    count: int
    ns: int


class BatchStatistics(ProtocolBody):
    """Runs of the model with this number of examples. Reading inputs and writing outputs is not measured."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(ProtocolBody):
    """Statistics of one version of the model since the start of the service, in all workers."""

    name: str
    version: str
    last_inference: int = Field(description="milliseconds since the epoch, 0 for never")
    inference_count: int = Field(description="number of examples")
    execution_count: int = Field(description="number of runs of the model")
    inference_stats: dict[str, Duration]
    batch_stats: list[BatchStatistics]


class Statistics(ProtocolBody):
    """Statistics of the models."""

    model_stats: list[ModelStatistics]


class RepositoryIndexRequest(ProtocolBody):
    """A request for the models, or only for those that are ready."""

    ready: bool = False


class RepositoryModel(ProtocolBody):
    """A model and its state."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


class InferInput(TensorMetadata):
    """The input tensor, its numbers in one list or nested like the shape."""

    data: list[Any]


class InferRequest(ProtocolBody):
    """An inference request with JSON data.

    With the header `inference-header-content-length` raw data follow the JSON, as in Triton's binary tensor extension.
    """

    id: str = ""
    inputs: list[InferInput] = Field(min_length=1, max_length=1)


class InferOutput(TensorMetadata):
    """The output tensor."""

    data: list[float] = []


class InferResponse(ProtocolBody):
    """The output of the model."""

    id: str = ""
    model_name: str
    model_version: str
    outputs: list[InferOutput]
