"""A plain BentoML service as in its tutorials: typed arrays and images in, an array out."""

# mypy: disable-error-code="untyped-decorator"
# BentoML's decorators are seen as untyped because the checker does not follow its imports.

import os
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType, DType, Shape
from PIL.Image import Image

from benchmarks.serving.peers.model import WORKERS, Model

Pixels = Annotated[np.ndarray, DType("uint8"), Shape((-1, 28, 28))]
Raw = Annotated[Path, ContentType("application/octet-stream")]
Png = Annotated[Path, ContentType("image/png")]


@bentoml.service(workers=int(os.environ.get(WORKERS, "1")), logging={"access": {"enabled": False}})
class Peer:
    """The same model behind BentoML's own types."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def json(self, inputs: Pixels) -> np.ndarray:
        """JSON lists [N][H][W] -> probabilities."""
        return self.model.run(self.model.from_array(inputs))

    @bentoml.api
    def binary(self, body: Raw, /) -> np.ndarray:
        """Raw pixels as the body, which BentoML puts into a file -> probabilities."""
        return self.model.run(self.model.from_bytes(body.read_bytes()))

    @bentoml.api
    def png(self, body: Png, /) -> np.ndarray:
        """A PNG as the body -> probabilities."""
        return self.model.run(self.model.from_png(body.read_bytes()))

    @bentoml.api
    def form(self, files: Image) -> np.ndarray:
        """A PNG in a form -> probabilities."""
        return self.model.run(self.model.from_picture(files))
