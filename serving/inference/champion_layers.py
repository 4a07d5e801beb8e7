"""Layer outputs of the champion, from a session that is opened on first use."""

import numpy as np

from models.errors import InputError
from serving.errors import overloaded
from serving.inference import bundle
from serving.inference.champion import Champion
from serving.inference.graph_layers import Layer, Layers
from serving.settings import Settings


class Activations:
    """Computes layer outputs of the champion. Not thread-safe.

    `opened` is the SHA-256 of the graph in the current session, empty before the first use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layers: Layers | None = None
        self.opened = ""

    def compute(self, champion: Champion, image: np.ndarray) -> list[Layer]:
        """Layer outputs for one image [1, H, W, C]. Raises RequestError (503) while the bundle is being replaced."""
        if self._layers is None or self.opened != champion.sha256:
            self._layers, self.opened = Layers(self._read(champion)), champion.sha256
        return self._layers.run(image)

    def _read(self, champion: Champion) -> bytes:
        """The champion's ONNX file, if it has not been replaced since the champion was loaded."""
        try:
            content = bundle.read(self._settings.champion, self._settings.verify_key)
        except InputError:
            content = None
        if content is None or content.manifest.model.sha256 != champion.sha256:
            raise overloaded("the champion is being replaced; try again in a second")
        return content.model
