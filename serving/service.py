"""The BentoML service: `bentoml serve serving.service:Tandem`.

BentoML starts and supervises the workers and serves the schema of its typed client; requests are answered by
`serving.application`, with the same bodies.
"""

# mypy: disable-error-code="untyped-decorator"
# BentoML's decorators are seen as untyped because the checker does not follow its imports.

import logging
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import bentoml
import orjson

from models.errors import InputError
from serving import routes
from serving.api import predict, predict_image
from serving.api.schemas import ImageForm, PredictRequest, PredictResponse
from serving.application import Application
from serving.connections import server
from serving.http import cors, key_file
from serving.http.messages import ASGIApp
from serving.process import cores, json_log, preflight, registry_sync, supervision, telemetry
from serving.settings import Settings, read
from serving.worker import Worker

if json_log.ENABLED:
    json_log.start()
telemetry.disable()
supervision.extend_supervisor()
supervision.use_own_metrics_folder()


class TandemService(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service whose workers serve `Application` with the limits of `serving.connections`."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application that a worker serves."""
        settings = _settings()
        index = max(0, (bentoml.server_context.worker_index or 1) - 1)
        inner, file = super().to_asgi(is_main), supervision.connection_counts_file()
        headers = partial(cors.headers, settings.cors_origins)
        grpc_server = _grpc_server(inner, settings)
        server.install(
            settings, file, _workers(), index, _count_rejection, headers, routes.is_probe, grpc_server, _not_ready
        )
        application = Application(inner, settings, _worker)
        return cors.allow(application, settings.cors_origins)


def _worker() -> Worker:
    """The components of this worker process, once they are made."""
    return cast(Worker, bentoml.get_current_service().worker)


def _grpc_server(inner: ASGIApp, settings: Settings) -> server.Companion | None:
    """The gRPC server of this worker, if it has a port."""
    if not settings.grpc_port:
        return None
    from serving.grpc import routes as grpc_routes
    from serving.grpc.server import Server

    return Server(Application(inner, settings, _worker, grpc_routes.find), settings)


def _count_rejection(reason: str) -> None:
    """Count a refused connection."""
    _worker().metrics.count_rejection(reason)


def _not_ready() -> None:
    """Report that this worker gets no more requests."""
    _worker().ready = False


def _settings() -> Settings:
    """The settings. Raises BentoMLException, which BentoML prints as one line."""
    try:
        return read()
    except InputError as error:
        raise supervision.start_error(error) from error


@cache
def _client_schema() -> bytes:
    """The schema for BentoML's typed client as JSON; generating it takes long."""
    return orjson.dumps(cast(Any, Tandem).schema())


def _workers() -> int:
    """The number of worker processes; in the supervisor, unless it is set, the largest that `Tandem.check` may set."""
    return _settings().workers or cores.available()


@bentoml.service(
    name="tandem",
    service_class=TandemService,
    workers=_workers(),
    http={"host": "127.0.0.1"},  # unless `--host` or BENTOML_HOST, which the Bento's image sets, names another
    metrics={"enabled": False},  # `serving.monitoring` has metrics with bounded labels
    logging={"access": {"enabled": False}},
)
class Tandem:
    """Predictions by the champion, the best model that the pipeline has trained and verified."""

    def __init__(self) -> None:
        index = bentoml.server_context.worker_index or 0
        self.worker = Worker(_settings(), index=index, client_schema=_client_schema)

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Raise BentoMLException, before any worker starts, unless there is a champion that can be served."""
        try:
            settings = _settings()
            if registry_sync.follows_alias(settings):
                registry_sync.fetch(settings)
            if settings.api_keys_file:
                key_file.read(settings.api_keys_file)
            provider = preflight.check(settings)  # forks, so before the threads that follow
            supervision.set_workers(settings.workers or cores.workers(provider))
            if json_log.ENABLED:
                json_log.relay_stderr()
            logging.getLogger("bentoml.tandem").info("workers: %d, on %s", _workers(), provider)
            if registry_sync.follows_alias(settings):
                registry_sync.follow(settings)
        except InputError as error:
            raise supervision.start_error(error) from error

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the worker."""
        await self.worker.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Stop the worker."""
        await self.worker.stop()

    @bentoml.api(route="/predict", input_spec=PredictRequest, output_spec=PredictResponse)
    async def predict(self, inputs: list[Any], **options: Any) -> PredictResponse:
        """Predict a batch of raw examples: images as nested lists, table rows as lists or objects by feature."""
        return PredictResponse.model_validate(await predict.run(self.worker, {"inputs": inputs} | options))

    @bentoml.api(route="/predict/image", input_spec=ImageForm, output_spec=PredictResponse)
    async def predict_image(self, files: list[Path], **options: Any) -> PredictResponse:
        """Predict one or several images: PNG, JPEG, WebP or BMP of any size and mode."""
        contents = [path.read_bytes() for path in files]
        body = await predict_image.run(self.worker, self.worker.champion, contents, options)
        return PredictResponse.model_validate(body)
