"""MLflow runs, written by a process of its own.

MLflow takes seconds to import, and each request takes time. In another process that happens while the stage imports its
framework and trains.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models.errors import InputError
from pipelines.execution import garbage_collection
from pipelines.execution.stage import was_interrupted
from pipelines.tracking import location, outbox
from pipelines.tracking.outbox import Header, Outbox
from pipelines.tracking.run import Run

PARENT_TAG = "mlflow.parentRunId"  # read by MLflow's user interface


class Tracker:
    """A process that opens an experiment as soon as this is created, and writes runs to it.

    Created before anything else that takes long to import. The process ends with this one.
    """

    def __init__(self, experiment: str) -> None:
        # A fork need not import anything again; other systems than Linux do not support one of a process with threads.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._connection, experiment, os.getpid())
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=arguments, name="MLflow", daemon=True
        )
        self._process.start()
        theirs.close()
        self._children: list[Outbox] = []  # locked until they are delivered, or left to the next command

    @contextmanager
    def start(self, name: str, tags: Mapping[str, str], interrupted: str = "") -> Iterator[Run]:
        """A new run with system metrics, or the `interrupted` one if it still exists, which continues.

        An exception ends it as FAILED, an interrupt as KILLED.

        Raises InputError if the store cannot be reached; an outage that begins later does not end the block.
        """
        with self._opened("start", name, dict(tags), interrupted) as run:
            yield run

    @contextmanager
    def resume(self, name: str, run_id: str) -> Iterator[Run]:
        """The recorded run; if it no longer exists, the run that replaced it, or a new one.

        It keeps its end, and its status if the block fails.

        Raises InputError if the store cannot be reached; an outage that begins later does not end the block.
        """
        with self._opened("resume", name, run_id) as run:
            yield run

    @contextmanager
    def start_child(self, parent_id: str, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """A new run below the run `parent_id`, created in the background: an outage of the store delays nothing.

        An exception ends it as FAILED, an interrupt as KILLED. It is delivered by `close` at the latest.
        """
        self._release_children(delivered=True)
        box = outbox.create(location.outboxes(), Header(location.outbox_address(), name, experiment_id))
        self._children.append(box)
        run = Run(box)
        run.create(name, {PARENT_TAG: parent_id, **tags})
        self._send("child", box.folder)
        with _ended(run, box.header):
            yield run

    def close(self) -> None:
        """Wait until all is delivered; in an outage the rest is kept on disk, for the next command."""
        try:
            self._send("close")
            self._receive()
        except InputError as error:
            print(f"{error}; what is not delivered is kept in {location.outboxes()}", flush=True)
        except BaseException:
            self._connection.close()  # the process ends as if this one had
            raise
        self._release_children()

    def _release_children(self, delivered: bool = False) -> None:
        """Release the locks of all, or of those that are delivered."""
        for box in [*self._children]:
            if not delivered or not box.folder.exists():
                box.close()
                self._children.remove(box)

    @contextmanager
    def _opened(self, function: str, name: str, *arguments: Any) -> Iterator[Run]:
        box = outbox.create(location.outboxes(), Header(location.outbox_address(), name))
        try:
            self._send(function, box.folder, *arguments)
            box.header, is_continued = self._receive()
        except BaseException:
            _discard(box)
            raise
        try:
            run = Run(box, is_continued)
            with _ended(run, box.header):
                yield run
        finally:
            self.close()
            box.close()

    def _send(self, *request: Any) -> None:
        try:
            self._connection.send(request)
        except ConnectionError as error:
            raise self._process_error() from error

    def _receive(self) -> Any:
        """The answer to the last request. Raises it if it is an InputError."""
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._process_error() from error
        if isinstance(answer, InputError):
            raise answer
        return answer

    def _process_error(self) -> InputError:
        self._process.join()
        return InputError(f"the process that writes to MLflow ended with status {self._process.exitcode}")


@contextmanager
def _ended(run: Run, header: Header) -> Iterator[None]:
    """End the run with the status of the block; a resumed run keeps its end, and its status if the block fails."""
    status = header.status or "FAILED"
    try:
        yield
        status = "FINISHED"
    except BaseException as error:
        if was_interrupted(error):
            status = header.status or "KILLED"
        raise
    finally:
        run.end(status, header.end_time)


def _discard(box: Outbox) -> None:
    """Delete an outbox, unless the store may have its run, which the next command then ends."""
    if outbox.read_header(box.folder).experiment_id:
        box.close()
    else:
        box.delete()


def _serve(connection: Any, other_end: Any, experiment: str, parent: int) -> None:
    other_end.close()  # else the end of the parent would not be noticed
    with garbage_collection.paused():
        from pipelines.tracking import run_process

    run_process.serve(connection, experiment, parent)
