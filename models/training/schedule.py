"""The learning rate of each step, the same numbers for both frameworks."""

import math

from models.config import Schedule

START = 25.0  # one-cycle starts at peak / START and
END = 1e4  # ends at that start / END: fast.ai's and PyTorch's values


def learning_rate(step: int, total: int, peak: float, schedule: Schedule) -> float:
    """Learning rate of `step` in 0..total-1.

    `constant` holds the peak. `cosine` rises linearly over the warm-up, then falls to 0 as in SGDR
    without restarts (Loshchilov & Hutter 2017). `one_cycle` rises and falls along cosines (Smith &
    Topin 2018, in the form of torch.optim.lr_scheduler.OneCycleLR).
    """
    warm = schedule.warmup * total
    if schedule.name == "constant":
        return peak
    if schedule.name == "cosine":
        rising = min((step + 1) / warm, 1.0) if step < warm else None
        return peak * rising if rising else _cosine(peak, 0.0, (step - warm) / max(total - warm, 1))
    if step < warm:
        return _cosine(peak / START, peak, step / warm)
    return _cosine(peak, peak / START / END, (step - warm) / max(total - 1 - warm, 1))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
