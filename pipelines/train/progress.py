"""What a person sees of a training: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

from models.epoch import Epoch, Progress

LINE_EVERY = 2.0  # seconds between lines, at least
ON_TERMINAL = 0.1  # the same, where a person looks on: few examples have hundreds of epochs


class Display:
    """Shows epochs and steps of one candidate."""

    def __init__(self, candidate: str, epochs: int) -> None:
        self.candidate = candidate
        self.epochs = epochs
        self.bar = tqdm(unit=" examples", disable=not sys.stdout.isatty(), leave=False, file=sys.stdout)
        self.pause = LINE_EVERY if self.bar.disable else ON_TERMINAL
        self.last_line = 0.0

    def step(self, progress: Progress) -> None:
        """Move the bar; loss and metric are those of the epoch so far."""
        if progress.examples < self.bar.n or self.bar.total is None:
            self.bar.reset(progress.total)
        self.bar.set_description(f"{self.candidate} epoch {progress.epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {progress.loss:.4f} {progress.metric} {progress.value:.4f}", refresh=False)
        self.bar.update(progress.examples - self.bar.n)

    def epoch(self, epoch: Epoch) -> None:
        """A line for an epoch: the first, the last and one in a while."""
        now = time.monotonic()
        if epoch.epoch not in (1, self.epochs) and now - self.last_line < self.pause:
            return
        self.last_line = now
        self.bar.clear()
        print(describe(self.candidate, epoch, self.epochs), flush=True)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def describe(candidate: str, epoch: Epoch, epochs: int) -> str:
    """One epoch in one line."""
    values = epoch.values()
    measure = "mae" if "train_mae" in values else "accuracy"
    return (
        f"{candidate} epoch {epoch.epoch}/{epochs}: "
        f"loss {epoch.train_loss:.4f} {measure} {values[f'train_{measure}']:.4f} | "
        f"validation loss {epoch.validation_loss:.4f} {measure} {values[f'validation_{measure}']:.4f} | "
        f"{epoch.examples_per_second:,.0f} examples/s"
    )
