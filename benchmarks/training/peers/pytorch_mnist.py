"""The MNIST example of PyTorch's own examples, by its published recipe (github.com/pytorch/examples, `mnist/main.py`).

Two convolutions, Adadelta with learning rate 1.0, multiplied by 0.7 after each epoch, batches of 64 from a DataLoader
whose transforms process one image at a time: torchvision's ToTensor and Normalize, by Pillow, NumPy and torch.
"""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset

from benchmarks.training.clock import Clock
from benchmarks.training.fashion import Fashion

MEAN, STD = 0.1307, 0.3081


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images and classes, transformed on access."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[index, ..., 0])
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))[None].contiguous().to(torch.float32).div(255)
        return pixels.sub_(MEAN).div_(STD), int(self.labels[index])


class Net(nn.Module):
    """The example's network: [N,1,28,28] to logarithms of probabilities [N,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As published."""
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = self.dropout1(functional.max_pool2d(x, 2)).flatten(1)
        x = self.dropout2(functional.relu(self.fc1(x)))
        return functional.log_softmax(self.fc2(x), dim=1)


def train(data: Fashion, seed: int, clock: Clock) -> None:
    """Train until the clock ends."""
    torch.manual_seed(seed)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    loader = DataLoader(Images(data.images, data.labels), batch_size=64, shuffle=True)
    while not clock.is_over():
        _epoch(model, optimizer, loader, data, clock)
        scheduler.step()
    clock.evaluate(lambda: _accuracy(model, data))


def _epoch(
    model: Net,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[torch.Tensor, int]],
    data: Fashion,
    clock: Clock,
) -> None:
    for images, labels in loader:
        model.train()
        optimizer.zero_grad()
        functional.nll_loss(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if clock.is_over():
            return
        if clock.is_due():
            clock.evaluate(lambda: _accuracy(model, data))


@torch.no_grad()
def _accuracy(model: Net, data: Fashion) -> float:
    pixels = torch.from_numpy(data.test_images).permute(0, 3, 1, 2).to(torch.float32).div(255).sub(MEAN).div(STD)
    return data.accuracy(torch.cat([model.eval()(part) for part in torch.split(pixels, 1000)]).numpy())
