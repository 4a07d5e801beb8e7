"""Progress of a training on standard output: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from models.metrics.quality import formatted
from models.training.epoch import Epoch, Progress
from pipelines.execution.counts import counted

LINE_SECONDS = 2.0  # least time between lines
TERMINAL_LINE_SECONDS = 0.1  # the same on a terminal: small data sets have hundreds of epochs


class Display:
    """Shows epochs and steps of one candidate."""

    def __init__(self, candidate: str, epochs: int) -> None:
        self.candidate = candidate
        self.epochs = epochs
        self.bar = tqdm(unit=" examples", disable=not sys.stdout.isatty(), leave=False, file=sys.stdout)
        self.interval = LINE_SECONDS if self.bar.disable else TERMINAL_LINE_SECONDS
        self.last_line = 0.0
        self.unprinted: Epoch | None = None

    def step(self, progress: Progress) -> None:
        """Update the bar with loss and metric of the epoch so far."""
        if progress.examples < self.bar.n or self.bar.total is None:
            self.bar.reset(progress.total)
        self.bar.set_description(f"{self.candidate} epoch {progress.epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(
            f"loss {formatted(progress.loss)} {progress.metric} {formatted(progress.value)}", refresh=False
        )
        self.bar.update(progress.examples - self.bar.n)

    def epoch(self, epoch: Epoch) -> None:
        """Print a line for the first epoch, the last, and some between."""
        now = time.monotonic()
        if epoch.epoch not in (1, self.epochs) and now - self.last_line < self.interval:
            self.unprinted = epoch
            return
        self.last_line = now
        self._print(epoch)

    def finish(self) -> None:
        """Print the last epoch of a training that has ended before all its epochs."""
        if self.unprinted:
            self._print(self.unprinted)

    def _print(self, epoch: Epoch) -> None:
        self.unprinted = None
        self.bar.clear()
        print(epoch_line(epoch, self.epochs, self.candidate), flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def outcome(history: Sequence[Epoch], seconds: float) -> str:
    """The duration of a training, and the number of steps that were not taken, which is known of float16."""
    skipped = sum(epoch.skipped_steps or 0 for epoch in history)
    steps = f"; {counted(skipped, 'step')} not taken, as gradients overflowed" if skipped else ""
    return f"{counted(len(history), 'epoch')} in {seconds:.1f} s{steps}"


def epoch_line(epoch: Epoch, epochs: int, candidate: str) -> str:
    """The metrics of one epoch."""
    values = epoch.values()
    metric = "mae" if "train_mae" in values else "accuracy"
    return (
        f"{candidate} epoch {epoch.epoch}/{epochs}: "
        f"loss {formatted(epoch.train_loss)} {metric} {formatted(values[f'train_{metric}'])} | "
        f"validation loss {formatted(epoch.validation_loss)} {metric} {formatted(values[f'validation_{metric}'])} | "
        f"{epoch.examples_per_second:,.0f} examples/s"
    )
