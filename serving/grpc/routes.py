"""The methods of `GRPCInferenceService` by their paths, /SERVICE/METHOD."""

from serving.api.route import Route
from serving.errors import RequestError
from serving.grpc import handlers
from serving.grpc.messages import SERVICE

METHODS = {
    "ServerLive": Route("grpc_live", handlers.server_live, public=True, probe=True),
    "ServerReady": Route("grpc_ready", handlers.server_ready, public=True, probe=True),
    "ModelReady": Route("grpc_model_ready", handlers.model_ready, probe=True),
    "ServerMetadata": Route("grpc_server", handlers.server_metadata),
    "ModelMetadata": Route("grpc_model", handlers.model_metadata),
    "ModelInfer": Route("grpc_infer", handlers.infer),
    "ModelConfig": Route("grpc_config", handlers.model_config),
    "ModelStatistics": Route("grpc_statistics", handlers.model_statistics),
    "RepositoryIndex": Route("grpc_index", handlers.repository_index),
}
ROUTES = {f"/{SERVICE}/{method}": route for method, route in METHODS.items()}


def find(_method: str, path: str) -> Route:
    """The route of a call. Raises RequestError (501) for a method that the service does not have."""
    if route := ROUTES.get(path):
        return route
    raise RequestError(501, "unknown_path", f"no such method; available: {', '.join(METHODS)}")
