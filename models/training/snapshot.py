"""Statistics of the layers of a model at the end of an epoch, with the same names in both frameworks."""

from typing import NamedTuple

import numpy as np

WATCHED = ("activation", "logits")  # beginnings of the names of the layers whose outputs are recorded


class Outputs(NamedTuple):
    """Outputs of a layer for a batch: mean, standard deviation and share of zeros of all values,
    and the share of units (of channels in an image) that give nothing but zeros: dead ones."""

    mean: float
    std: float
    zeros: float
    dead: float


class Snapshot(NamedTuple):
    """Outputs by layer; weights and the gradients of the loss by `layer/weight`, float32 in the shared layout."""

    outputs: dict[str, Outputs]
    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]

    def statistics(self) -> dict[str, float]:
        """A few numbers a layer, by `statistic/layer`; the gradient's norm is that of all weights of the layer."""
        layers = list(dict.fromkeys(map(_layer, self.gradients)))
        norms = {f"gradient_norm/{layer}": self._gradient_norm(layer) for layer in layers}
        outputs = {layer: values._asdict() for layer, values in self.outputs.items()}
        return norms | {f"{name}/{layer}": outputs[layer][name] for name in Outputs._fields for layer in outputs}

    def _gradient_norm(self, layer: str) -> float:
        own = [array.astype(np.float64).ravel() for name, array in self.gradients.items() if _layer(name) == layer]
        return float(np.linalg.norm(np.concatenate(own)))


def is_watched(layer: str) -> bool:
    """True of a layer, such as `block_1_1/activation_1`, whose outputs are recorded."""
    return layer.rpartition("/")[2].startswith(WATCHED)


def _layer(weight: str) -> str:
    return weight.rpartition("/")[0]
