"""A residual network in Keras, as a `keras.Model` subclass: how it runs depends on its configuration.

Its blocks are functional models, so that `export` can save the whole as Keras' own layers, without our class.
"""

from typing import Any

import keras

from models.config import ResNet
from models.keras.layers import activation, conv, head, norm, pad, scale
from models.spec import DataSpec


class ResidualNetwork(keras.Model):
    """A convolution, blocks, and the mean over height and width."""

    def __init__(self, spec: DataSpec, config: ResNet) -> None:
        super().__init__(name="resnet")
        self.spec, self.config = spec, config
        self.scale = scale(spec)
        self.pad = pad(3, config.stem_stride, "pad")
        self.conv = conv(config.channels[0], "conv", config, stride=config.stem_stride)
        self.blocks = _blocks(config.channels[0], config)
        self.norm = norm(config, "norm")
        self.activation = activation(config, "activation", spatial=True)
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")
        self.dropout = keras.layers.Dropout(config.dropout, name="dropout")
        self.logits = head(spec.outputs)

    def call(self, image_NHWC: Any) -> Any:
        """Raw images [N,H,W,C] to logits [N,K]."""
        x_NHWC = self.conv(self.pad(self.scale(image_NHWC)))
        if not self.config.pre_activation:
            x_NHWC = self.activation(self.norm(x_NHWC))
        for block in self.blocks:
            x_NHWC = block(x_NHWC)
        if self.config.pre_activation:
            x_NHWC = self.activation(self.norm(x_NHWC))
        return self.logits(self.dropout(self.pool(x_NHWC)))

    def get_config(self) -> dict[str, Any]:
        """The configuration that `from_config` builds the same network from."""
        return {"spec": self.spec.to_dict(), "config": self.config.model_dump()}

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> "ResidualNetwork":
        """The reverse of `get_config`; weights are not part of it."""
        return cls(DataSpec.from_dict(values["spec"]), ResNet.model_validate(values["config"]))


def build(spec: DataSpec, config: ResNet) -> keras.Model:
    """Raw images [N,H,W,C] to logits float32 [N,K]."""
    model = ResidualNetwork(spec, config)
    model(keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name))  # makes the weights
    return model


def _blocks(inputs: int, config: ResNet) -> list[keras.Model]:
    blocks = []
    for name, outputs, stride in config.strides():
        x_NHWC = keras.Input((None, None, inputs))
        run = _pre_activated if config.pre_activation else _standard
        blocks.append(keras.Model(x_NHWC, run(x_NHWC, outputs, stride, config), name=name))
        inputs = outputs
    return blocks


def _standard(x_NHWC: keras.KerasTensor, outputs: int, stride: int, config: ResNet) -> keras.KerasTensor:
    """Two 3x3 convolutions and a shortcut; the shortcut has a 1x1 convolution where the shape changes."""
    shortcut = x_NHWC
    x_NHWC = conv(outputs, "conv_1", config, stride=stride)(pad(3, stride, "pad_1")(x_NHWC))
    x_NHWC = activation(config, "activation_1", spatial=True)(norm(config, "norm_1")(x_NHWC))
    x_NHWC = norm(config, "norm_2")(conv(outputs, "conv_2", config)(x_NHWC))
    if stride > 1 or shortcut.shape[-1] != outputs:
        shortcut = conv(outputs, "conv_3", config, size=1, stride=stride)(shortcut)
        shortcut = norm(config, "norm_3")(shortcut)
    x_NHWC = keras.layers.Add(name="add")([x_NHWC, shortcut])
    return activation(config, "activation_2", spatial=True)(x_NHWC)


def _pre_activated(x_NHWC: keras.KerasTensor, outputs: int, stride: int, config: ResNet) -> keras.KerasTensor:
    """The same with normalisation and activation before each convolution."""
    active_NHWC = activation(config, "activation_1", spatial=True)(norm(config, "norm_1")(x_NHWC))
    shortcut = x_NHWC
    x_NHWC = conv(outputs, "conv_1", config, stride=stride)(pad(3, stride, "pad_1")(active_NHWC))
    x_NHWC = activation(config, "activation_2", spatial=True)(norm(config, "norm_2")(x_NHWC))
    x_NHWC = conv(outputs, "conv_2", config)(x_NHWC)
    if stride > 1 or shortcut.shape[-1] != outputs:
        shortcut = conv(outputs, "conv_3", config, size=1, stride=stride)(active_NHWC)
    return keras.layers.Add(name="add")([x_NHWC, shortcut])
