"""Receiver operating characteristics, one class against the rest. `probabilities` [N, K], `targets` int64 [N]."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, roc_curve

MACRO = "macro average"


@dataclass(frozen=True)
class Roc:
    """A curve of rates in 0..1, ascending, and the area under it."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    area: float


def class_rocs(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> dict[str, Roc]:
    """The curve of each class by its label.

    A class without examples, or without examples of other classes, has no defined rates and is left out.
    """
    indices = [index for index in range(len(labels)) if 0 < np.sum(targets == index) < len(targets)]
    return {labels[index]: _roc(targets == index, probabilities[:, index]) for index in indices}


def macro_roc(probabilities: np.ndarray, targets: np.ndarray) -> Roc:
    """The mean of the curves of all classes at every false positive rate of any of them, and of their areas.

    As in scikit-learn's "Multiclass Receiver Operating Characteristic", one against the rest.
    """
    labels = [str(index) for index in range(probabilities.shape[1])]
    rocs = list(class_rocs(probabilities, targets, labels).values())
    rates = np.unique(np.concatenate([roc.false_positive_rate for roc in rocs]))
    heights = np.mean([np.interp(rates, roc.false_positive_rate, roc.true_positive_rate) for roc in rocs], axis=0)
    # Interpolation at rate 0 gives the highest of several true positive rates; the curve starts at (0, 0).
    return Roc(np.insert(rates, 0, 0.0), np.insert(heights, 0, 0.0), float(np.mean([roc.area for roc in rocs])))


def _roc(positive: np.ndarray, score: np.ndarray) -> Roc:
    false, true, _ = roc_curve(positive, score)
    return Roc(false, true, float(auc(false, true)))
