"""Whose layers are looked into: the champion's, opened when somebody asks."""

import numpy as np

from models.errors import InputError
from serving.errors import overloaded
from serving.inference import bundle
from serving.inference.champion import Champion
from serving.inference.graph_layers import Layer, Layers
from serving.settings import Settings


class Activations:
    """The layers of the champion, opened when they are first asked for: other traffic pays nothing.

    `opened` is the SHA-256 of the graph that is held. Used from one thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layers: Layers | None = None
        self.opened = ""

    def look(self, champion: Champion, picture: np.ndarray) -> list[Layer]:
        """The layers of `champion` for one picture [1, H, W, C]. Raises RequestError while its file is not there."""
        if self._layers is None or self.opened != champion.sha256:
            self._layers, self.opened = Layers(self._read(champion)), champion.sha256
        return self._layers.look(picture)

    def _read(self, champion: Champion) -> bytes:
        """The champion's ONNX file, which may have been replaced since it was loaded."""
        try:
            found = bundle.read(self._settings.champion)
        except InputError:
            found = None
        if found is None or found.manifest.model.sha256 != champion.sha256:
            raise overloaded("the champion is being replaced; ask again in a second")
        return found.model
