"""Triton's extensions of the Open Inference Protocol: model configuration, statistics and repository index."""

import asyncio

from serving.api import json_body
from serving.api.inference_protocol import PLATFORM, requested_champion, write
from serving.api.schemas import (
    DATATYPES,
    BatchStatistics,
    ConfigTensor,
    Duration,
    ModelConfig,
    ModelStatistics,
    RepositoryModel,
    Statistics,
)
from serving.errors import invalid
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.monitoring import model_statistics
from serving.worker import Worker

MAX_INT32 = (1 << 31) - 1  # Triton's configuration has numbers of 32 bits


async def config(worker: Worker, request: Request) -> Response:
    """The configuration of the model. Raises RequestError (404) for another model or version."""
    return write(model_config(worker, requested_champion(worker, request)))


def model_config(worker: Worker, champion: Champion) -> ModelConfig:
    """The configuration of the champion."""
    spec, settings = champion.spec, worker.settings
    data_type = f"TYPE_{DATATYPES[spec.dtype]}"
    batching = {"preferred_batch_size": [min(settings.run_rows, MAX_INT32)], "max_queue_delay_microseconds": 0}
    return ModelConfig(
        name=settings.model_name,
        platform=PLATFORM,
        default_model_filename=f"{champion.sha256}.onnx",
        max_batch_size=min(settings.max_batch, MAX_INT32),
        input=[ConfigTensor(name=spec.input_name, data_type=data_type, dims=list(spec.shape))],
        output=[ConfigTensor(name=spec.output_name, data_type="TYPE_FP32", dims=[spec.outputs])],
        dynamic_batching=batching,
    )


async def statistics(worker: Worker, request: Request) -> Response:
    """The statistics of the model. Raises RequestError (404) for another model or version."""
    return await _statistics_response(worker, requested_champion(worker, request).version)


async def all_statistics(worker: Worker, _: Request) -> Response:
    """The statistics of all models: there is one."""
    return await _statistics_response(worker, worker.champion.version)


async def _statistics_response(worker: Worker, version: str) -> Response:
    async def read() -> Response:
        return write(await version_statistics(worker, version))

    return await worker.shared_work.result(("statistics", version), read)


async def version_statistics(worker: Worker, version: str) -> Statistics:
    """The statistics of a version, of all workers."""
    worker.metrics.flush()
    return await asyncio.to_thread(_read_statistics, worker, version)


def _read_statistics(worker: Worker, version: str) -> Statistics:
    """The statistics of a version. Reading inputs and writing outputs is not measured, and nothing is cached."""
    metrics = list(worker.metrics.collect().collect())  # once, as it reads the files of all workers
    found = model_statistics.read(metrics, version)
    requests, queue, run = int(found["requests"]), found["queue_seconds"], found["run_seconds"]
    none = Duration(count=0, ns=0)
    durations = {
        "success": _duration(requests, queue + run),
        "fail": _duration(found["failures"], found["failure_seconds"]),
        "queue": _duration(requests, queue),
        "compute_input": _duration(requests, 0),
        "compute_infer": _duration(requests, run),
        "compute_output": _duration(requests, 0),
        "cache_hit": none,
        "cache_miss": none,
    }
    model = ModelStatistics(
        name=worker.settings.model_name,
        version=version,
        last_inference=int(found[model_statistics.LAST] * 1000),
        inference_count=int(found["examples"]),
        execution_count=int(found["runs"]),
        inference_stats=durations,
        batch_stats=[_batches(*each) for each in model_statistics.read_batches(metrics, version).items()],
    )
    return Statistics(model_stats=[model])


def _batches(examples: int, runs: tuple[int, float]) -> BatchStatistics:
    """The number and the seconds of the runs with so many examples."""
    count, seconds = runs
    nothing = _duration(count, 0)
    return BatchStatistics(
        batch_size=examples,
        compute_input=nothing,
        compute_infer=_duration(count, seconds),
        compute_output=nothing,
    )


def _duration(count: float, seconds: float) -> Duration:
    return Duration(count=int(count), ns=int(seconds * 1e9))


async def index(worker: Worker, request: Request) -> Response:
    """The models, or with `ready` only those that are ready. Raises RequestError."""
    body = await request.body()
    return write(models(worker, await json_body.read(worker, request, body, _only_ready)))


def models(worker: Worker, only_ready: bool) -> list[RepositoryModel]:
    """The models and their states, or only those that are ready."""
    state = "READY" if worker.ready else "UNAVAILABLE"
    model = RepositoryModel(name=worker.settings.model_name, version=worker.champion.version, state=state)
    return [model] if worker.ready or not only_ready else []


def _only_ready(body: bytes) -> bool:
    """The option `ready` of a body that may be empty. Raises RequestError."""
    only_ready = json_body.parse(body).get("ready", False) if body else False
    if type(only_ready) is not bool:
        raise invalid("ready: allowed: true or false")
    return only_ready
