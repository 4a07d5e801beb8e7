"""The Optuna study of a sweep: its storage, its trials, and those of processes that were killed.

One machine uses a journal, which several processes append to; several machines use PostgreSQL. A trial in the database
has a heartbeat. Those of a journal have none: processes hold locks, which the operating system releases.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna import Study
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from models.errors import InputError, one_line
from pipelines.artifacts.atomic import remove_incomplete_line
from pipelines.config.sweep import Sweep

JOURNAL, LOCK, WORKER_LOCK = "journal.log", "sweep.lock", "worker-{}.lock"
PROCESS, CURRENT, VALUES, REASON = "process", "current", "values", "reason"  # attributes of a trial
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.RUNNING, TrialState.WAITING)
MISSED_HEARTBEATS = 3  # after which a trial has failed
MAX_RETRIES = 2  # of a trial; after that other values are tried
ORPHAN_SECONDS = 30.0  # at most, until the processes of a killed sweep have ended
RETRY_SECONDS = 5.0  # at most, between the failure of a trial without heartbeats and its values being enqueued again
UNNAMED_SECONDS = 60.0  # at most, until a process has written its name to its trial: longer than it waits for a lock


def open_storage(config: Sweep, folder: Path) -> BaseStorage:
    """The journal in `folder`, or the database. Raises InputError if that cannot be reached."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if config.storage is None:
        path = folder / JOURNAL
        return JournalStorage(JournalFileBackend(str(path), _JournalLock(path)))
    try:
        with errors_named(config), _stable():
            return RDBStorage(
                config.storage,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=config.heartbeat,
                grace_period=MISSED_HEARTBEATS * config.heartbeat,
                heartbeat_stale_trial_callback=_enqueue_again,
            )
    except ImportError as error:
        raise InputError(f"sweep.storage = {config.storage}: {one_line(error)}") from error


@contextmanager
def errors_named(config: Sweep) -> Iterator[None]:
    """Raise InputError in place of the errors of a database that cannot be reached."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        if config.storage is None:
            raise
        reason = one_line(error.__cause__ or error)[:200]
        raise InputError(f"sweep.storage = {config.storage}: {reason}") from error


class _JournalLock(JournalFileOpenLock):
    """Held by the process that appends to the journal, which first cuts the line that a killed one was writing.

    Otherwise that line and the next one would be one, which nobody can read any more. The lock of a killed process is
    released after 30 seconds.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self.journal = journal

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            remove_incomplete_line(self.journal)
        except BaseException:
            self.release()
            raise
        return acquired


@contextmanager
def only_sweep(folder: Path) -> Iterator[None]:
    """Exclude another sweep in `folder`, and wait until no process of a killed one is left.

    Raises InputError if there is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        try:
            locks.enter_context(FileLock(folder / LOCK, blocking=False))
            for path in folder.glob(WORKER_LOCK.format("*")):
                with FileLock(path, timeout=ORPHAN_SECONDS):
                    pass
        except Timeout as error:
            raise InputError(f"{error.lock_file}: another sweep uses this folder; wait for its end") from error
        yield


def unlock(folder: Path) -> None:
    """Remove the lock of the journal that a killed process has left, when there is no other process."""
    (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that count: those that are complete or pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def complete(study: Study) -> list[FrozenTrial]:
    """The trials that were trained to the end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def value(trial: FrozenTrial) -> float:
    """The metric of a trial that has one: of a pruned one, that after its last epoch."""
    assert trial.value is not None
    return trial.value


def has_free_trial(study: Study, trials: int) -> bool:
    """True if a trial waits, or fewer than `trials` are finished, in progress or just failed.

    Optuna marks a trial without heartbeats as failed, and then enqueues its values again.
    """
    everything, now = study.get_trials(deepcopy=False), datetime.now()
    counted = _counted(everything)
    if any(trial.state is TrialState.WAITING for trial in counted):
        return True
    retried, moment = _retried(everything), timedelta(seconds=RETRY_SECONDS)
    failed = [one for one in everything if one.state is TrialState.FAIL and one.number not in retried]
    just_failed = [one for one in failed if now - moment < (one.datetime_complete or datetime.min) <= now]
    return len(counted) + len(just_failed) < trials


def is_surplus(study: Study, number: int, trials: int) -> bool:
    """True if `trials` others before this one are finished or in progress: several processes have begun a last one.

    A failed trial never finishes, so no more than `trials` finish whatever happens to those before.
    """
    return sum(trial.number < number for trial in _counted(study.get_trials(deepcopy=False))) >= trials


def _counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are finished or in progress, without those in whose place others were enqueued."""
    failing = _retried(trials)
    return [
        trial
        for trial in trials
        if trial.state in (*FINISHED, TrialState.WAITING)
        or (trial.state is TrialState.RUNNING and trial.number not in failing)
    ]


def begun(study: Study) -> int:
    """The number of trials so far, whatever their state; one that was restarted with the same values counts once."""
    everything = study.get_trials(deepcopy=False)
    return len(everything) - len(_retried(everything))


def described(error: Exception) -> str:
    """The type and the beginning of the message of an error, as the reason of a trial."""
    return f"{type(error).__name__}: {one_line(error)[:200]}".removesuffix(": ")


def fail(study: Study, is_dead: Callable[[FrozenTrial], bool]) -> dict[int, bool]:
    """Fail the running trials whose process no longer exists, and enqueue their values again, MAX_RETRIES times.

    Their numbers, and whether the values were enqueued. They are enqueued first, so that no other trial takes their
    place, and none is lost if this process is killed.
    """
    dead = [trial for trial in study.get_trials(states=(TrialState.RUNNING,)) if is_dead(trial)]
    for trial in dead:
        _enqueue_again(study, trial)
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    retried = _retried(study.get_trials(deepcopy=False))
    return {trial.number: trial.number in retried for trial in dead}


def _enqueue_again(study: Study, trial: FrozenTrial) -> None:
    """Enqueue the values of a failed trial once, without the name of its process: another one trains them."""
    if trial.number in _retried(study.get_trials(deepcopy=False)):
        return
    trial.user_attrs.pop(PROCESS, None)
    with _stable():
        RetryHeartbeatStaleTrialCallback(MAX_RETRIES)(study, trial)


def _retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """The numbers of the trials whose values were enqueued again."""
    with _stable():
        return {number for trial in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(trial)}


def fail_stale(study: Study) -> None:
    """Fail the trials in a database whose heartbeats have ended, and enqueue their values again."""
    with _stable():
        optuna.storages.fail_stale_trials(study)


def retry_of(trial: FrozenTrial) -> int | None:
    """The first trial with the same values, whose process was killed."""
    with _stable():
        return RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)


def is_of(processes: set[str], trial: FrozenTrial) -> bool:
    """True if one of these ended processes had the trial, or was killed before it could write its name to it."""
    if name := trial.user_attrs.get(PROCESS):
        return name in processes
    started = trial.datetime_start or datetime.max
    return bool(processes) and datetime.now() - started > timedelta(seconds=UNNAMED_SECONDS)


@contextmanager
def _stable() -> Iterator[None]:
    """Without warnings of interfaces that Optuna calls experimental, such as heartbeats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
