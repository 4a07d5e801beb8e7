"""A convolutional network in torch, as an `nn.Module` subclass: it changes the layout between its layers."""

from collections import OrderedDict

import torch
from torch import nn

from models.config import CNN
from models.spec import DataSpec
from models.torch.layers import Dropout, Scale, activation, conv, dense, head, norm


class ConvolutionalNetwork(nn.Module):
    """Stages of a 3x3 convolution, a 2x2 maximum, normalisation and activation, then a dense layer."""

    def __init__(self, spec: DataSpec, config: CNN) -> None:
        super().__init__()
        height, width, channels = spec.shape
        self.scale = Scale(spec)
        self.stages = nn.Sequential(_stages(channels, config))
        halvings = 2 ** len(config.channels)
        self.dropout_1 = Dropout(config.dropout)
        self.dense_1 = dense(
            height // halvings * (width // halvings) * config.channels[-1], config.dense, config, bias=True
        )
        self.activation = activation(config, config.dense)
        self.dropout_2 = Dropout(config.dropout)
        self.logits = head(config.dense, spec.outputs)

    def forward(self, image_NHWC: torch.Tensor) -> torch.Tensor:
        """Raw images [N,H,W,C] to logits [N,K]."""
        x_NCHW = self.scale(image_NHWC).permute(0, 3, 1, 2)
        x_NCHW = self.stages(x_NCHW)
        # Flattened as HWC, the order of the Keras twin.
        x_ND = self.dropout_1(x_NCHW.permute(0, 2, 3, 1).flatten(1))
        x_ND = self.dropout_2(self.activation(self.dense_1(x_ND)))
        logits_NK: torch.Tensor = self.logits(x_ND)
        return logits_NK


def build(spec: DataSpec, config: CNN) -> nn.Module:
    """Raw images [N,H,W,C] to logits float32 [N,K]."""
    return ConvolutionalNetwork(spec, config)


def _stages(channels: int, config: CNN) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, width in enumerate(config.channels, start=1):
        layers[f"conv_{stage}"] = conv(channels, width, config)
        layers[f"pool_{stage}"] = nn.MaxPool2d(2)
        layers[f"norm_{stage}"] = norm(config, width)
        layers[f"activation_{stage}"] = activation(config, width)
        channels = width
    return layers
