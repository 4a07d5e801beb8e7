"""A residual network in torch, as `nn.Module` subclasses: a block branches, so it is no plain sequence."""

from collections import OrderedDict

import torch
from torch import nn

from models.config import ResNet
from models.spec import DataSpec
from models.torch.layers import Dropout, Scale, activation, conv, head, norm


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; the shortcut has a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNet) -> None:
        super().__init__()
        self.projects = inputs != outputs or stride > 1
        self.conv_1 = conv(inputs, outputs, config, stride=stride)
        self.norm_1 = norm(config, outputs)
        self.activation_1 = activation(config, outputs)
        self.conv_2 = conv(outputs, outputs, config)
        if self.projects:
            self.conv_3 = conv(inputs, outputs, config, size=1, stride=stride)
        self.norm_2 = norm(config, outputs)
        if self.projects:
            self.norm_3 = norm(config, outputs)
        self.activation_2 = activation(config, outputs)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] to [N, outputs, H/stride, W/stride]."""
        shortcut = self.norm_3(self.conv_3(x_NCHW)) if self.projects else x_NCHW
        x_NCHW = self.activation_1(self.norm_1(self.conv_1(x_NCHW)))
        x_NCHW = self.norm_2(self.conv_2(x_NCHW))
        return self.activation_2(x_NCHW + shortcut)  # type: ignore[no-any-return]


class PreActivatedBlock(nn.Module):
    """The same with normalisation and activation before each convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, config: ResNet) -> None:
        super().__init__()
        self.projects = inputs != outputs or stride > 1
        self.norm_1 = norm(config, inputs)
        self.activation_1 = activation(config, inputs)
        self.conv_1 = conv(inputs, outputs, config, stride=stride)
        self.norm_2 = norm(config, outputs)
        self.activation_2 = activation(config, outputs)
        self.conv_2 = conv(outputs, outputs, config)
        if self.projects:
            self.conv_3 = conv(inputs, outputs, config, size=1, stride=stride)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] to [N, outputs, H/stride, W/stride]."""
        active_NCHW = self.activation_1(self.norm_1(x_NCHW))
        shortcut = self.conv_3(active_NCHW) if self.projects else x_NCHW
        x_NCHW = self.activation_2(self.norm_2(self.conv_1(active_NCHW)))
        return self.conv_2(x_NCHW) + shortcut  # type: ignore[no-any-return]


class ResidualNetwork(nn.Module):
    """A convolution, blocks, and the mean over height and width."""

    def __init__(self, spec: DataSpec, config: ResNet) -> None:
        super().__init__()
        width = config.channels[0]
        # Of pre-activated blocks the first begins with a normalisation, and the last one needs another after it.
        end = config.channels[-1] if config.pre_activation else width
        self.pre_activation = config.pre_activation
        self.scale = Scale(spec)
        self.conv = conv(spec.shape[2], width, config, stride=config.stem_stride)
        self.blocks = nn.Sequential(_blocks(width, config))
        self.norm = norm(config, end)
        self.activation = activation(config, end)
        self.dropout = Dropout(config.dropout)
        self.logits = head(config.channels[-1], spec.outputs)

    def forward(self, image_NHWC: torch.Tensor) -> torch.Tensor:
        """Raw images [N,H,W,C] to logits [N,K]."""
        x_NCHW = self.conv(self.scale(image_NHWC).permute(0, 3, 1, 2))
        if self.pre_activation:
            x_NCHW = self.activation(self.norm(self.blocks(x_NCHW)))
        else:
            x_NCHW = self.blocks(self.activation(self.norm(x_NCHW)))
        logits_NK: torch.Tensor = self.logits(self.dropout(x_NCHW.mean((2, 3))))
        return logits_NK


def build(spec: DataSpec, config: ResNet) -> nn.Module:
    """Raw images [N,H,W,C] to logits float32 [N,K]."""
    return ResidualNetwork(spec, config)


def _blocks(inputs: int, config: ResNet) -> OrderedDict[str, nn.Module]:
    kind = PreActivatedBlock if config.pre_activation else Block
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for name, outputs, stride in config.strides():
        blocks[name] = kind(inputs, outputs, stride, config)
        inputs = outputs
    return blocks
