"""A residual network in Keras, as `keras.Model` and `keras.Layer` subclasses: a block branches by its configuration.

The `.keras` file names these classes by module, so loading it wants this package to be importable.
"""

from typing import Any

import keras

from models.config import ResNet
from models.keras.layers import activation, conv, head, norm, pad, scale
from models.spec import DataSpec


@keras.saving.register_keras_serializable("tandem")
class Block(keras.layers.Layer):
    """Two 3x3 convolutions and a shortcut; the shortcut has a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNet, name: str) -> None:
        super().__init__(name=name)
        self.pre_activation = config.pre_activation
        self.pad_1 = pad(3, stride, "pad_1")
        self.conv_1 = conv(outputs, "conv_1", config, stride=stride)
        self.norm_1 = norm(config, "norm_1")
        self.activation_1 = activation(config, "activation_1", spatial=True)
        self.conv_2 = conv(outputs, "conv_2", config)
        self.norm_2 = norm(config, "norm_2")
        self.activation_2 = activation(config, "activation_2", spatial=True)
        self.projects = inputs != outputs or stride > 1
        if self.projects:
            self.conv_3 = conv(outputs, "conv_3", config, size=1, stride=stride)
        if self.projects and not config.pre_activation:
            self.norm_3 = norm(config, "norm_3")

    def call(self, x_NHWC: Any) -> Any:
        """[N,H,W,C] to [N, H/stride, W/stride, outputs]."""
        run = self._pre_activated if self.pre_activation else self._standard
        return run(x_NHWC)

    def _standard(self, x_NHWC: Any) -> Any:
        shortcut = self.norm_3(self.conv_3(x_NHWC)) if self.projects else x_NHWC
        x_NHWC = self.activation_1(self.norm_1(self.conv_1(self.pad_1(x_NHWC))))
        x_NHWC = self.norm_2(self.conv_2(x_NHWC))
        return self.activation_2(x_NHWC + shortcut)

    def _pre_activated(self, x_NHWC: Any) -> Any:
        active_NHWC = self.activation_1(self.norm_1(x_NHWC))
        shortcut = self.conv_3(active_NHWC) if self.projects else x_NHWC
        x_NHWC = self.activation_2(self.norm_2(self.conv_1(self.pad_1(active_NHWC))))
        return self.conv_2(x_NHWC) + shortcut


@keras.saving.register_keras_serializable("tandem")
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
        """What `from_config` builds the same network from."""
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


def _blocks(inputs: int, config: ResNet) -> list[Block]:
    blocks = []
    for name, outputs, stride in config.strides():
        blocks.append(Block(inputs, outputs, stride, config, name))
        inputs = outputs
    return blocks
