"""Progress of a sweep on standard output: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from models.metrics.quality import formatted
from pipelines.sweep import studies

LINE_SECONDS = 2.0  # least time between lines


class Display:
    """Shows the finished trials of a sweep for `trials`, of which `before` were finished when it began."""

    def __init__(self, name: str, metric: str, trials: int, before: int, higher_is_better: bool) -> None:
        self.name = name
        self.metric = metric
        self.trials = trials
        self.before = before
        self.higher_is_better = higher_is_better
        self.start = time.monotonic()
        self.bar = tqdm(
            total=trials, initial=before, unit=" trials", disable=not sys.stdout.isatty(), leave=False, file=sys.stdout
        )
        self.shown = before
        self.last_line = 0.0

    def update(self, finished: Sequence[FrozenTrial]) -> None:
        """Show a new number of finished trials."""
        self.bar.set_description(f"{self.name} sweep", refresh=False)
        self.bar.set_postfix_str(self._quality(finished), refresh=False)
        self.bar.update(len(finished) - self.bar.n)
        now = time.monotonic()
        if len(finished) == self.shown or (len(finished) < self.trials and now - self.last_line < LINE_SECONDS):
            return
        self.shown, self.last_line = len(finished), now
        if self.bar.disable:
            print(self.line(finished, now - self.start), flush=True)

    def line(self, finished: Sequence[FrozenTrial], seconds: float) -> str:
        """Finished and pruned trials, the best one, and the remaining time."""
        done = len(finished) - self.before
        left = seconds / done * (self.trials - len(finished)) if done else 0.0
        return (
            f"{self.name} sweep: {len(finished)} of {self.trials} trials, {self._quality(finished)}, "
            f"{tqdm.format_interval(left)} left"
        )

    def _quality(self, finished: Sequence[FrozenTrial]) -> str:
        complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
        pruned = f"{len(finished) - len(complete)} pruned"
        if not complete:
            return pruned
        best = (max if self.higher_is_better else min)(complete, key=studies.value)
        return f"{pruned}, best {self.metric} {formatted(studies.value(best))} in trial {best.number}"

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
