"""Decisions of one process that all processes follow.

Messages go through the key-value store of `jax.distributed`. In contrast to collectives on devices,
they may be sent from a background thread, have a time limit, and name the process that is missing.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any

from seqjax.hosts import runtime

TIME_LIMIT = 1800.0
"""Seconds that a process waits for the others, which may write for long; JAX ends it before that if
one of them was lost."""

_numbers = itertools.count()


class Agreement:
    """Lets process 0 decide for all processes of `jax.distributed`, or for the only process.

    All processes create the same objects and call `reach` in the same order.

    Args:
      errors: types of errors that keep their type when they are raised in all processes. Others
        become ``RuntimeError``.
      alone: whether this process decides for itself, although it may be one of several.

    >>> Agreement((ValueError,)).reach("count", lambda: 3, lambda reports: sum(reports))
    3
    """

    def __init__(self, errors: tuple[type[Exception], ...], alone: bool = False) -> None:
        self._errors = {error.__name__: error for error in errors}
        self._alone = alone
        # the others do not make this object, and count without it
        self._name = "" if alone else f"seqjax/checkpoint/{next(_numbers)}"
        self._count = 0

    @property
    def process(self) -> int:
        """The number of this process."""
        return 0 if self._alone else runtime.process()

    @property
    def processes(self) -> int:
        """The number of processes."""
        return 1 if self._alone else runtime.processes()

    def reach(
        self, what: str, act: Callable[[], Any], decide: Callable[[list[Any]], Any] = lambda _: None
    ) -> Any:
        """Act in all processes, decide in process 0, and return its decision in all.

        Args:
          what: what is done, for messages; the same in all processes.
          act: returns the report of this process as JSON data.
          decide: makes the decision, JSON data, from the reports of all processes in their order.

        Raises:
          TimeoutError: a process did not come within `TIME_LIMIT`.
          ConnectionError: the processes have lost each other.
          ValueError: the processes do different things.
          Exception: what ``act`` raises in any process, or ``decide`` in process 0, is raised in
            all processes.
        """
        if self.processes == 1:
            return decide([act()])
        message: dict[str, Any] = {"what": what}
        own: Exception | None = None
        try:
            message["report"] = act()
        except Exception as error:
            own, message["error"] = error, self._encoded(error)
        earlier, key = f"{self._name}/{self._count - 1}", f"{self._name}/{self._count}"
        self._count += 1
        if self.process:
            runtime.put(f"{key}/{self.process}", json.dumps(message))
            answer = self._receive(f"{key}/answer", "process 0", what, 2 * TIME_LIMIT)
        else:
            try:
                answer = self._answer(key, message, decide)
            except Exception as error:
                own, answer = error, {"error": self._encoded(error)}
            runtime.put(f"{key}/answer", json.dumps(answer))
            runtime.delete(earlier)  # all have read it
        if "error" in answer:
            kind, text = answer["error"]
            raise own or self._errors.get(kind, RuntimeError)(text)
        return answer["decision"]

    def _answer(
        self, key: str, message: dict[str, Any], decide: Callable[[list[Any]], Any]
    ) -> dict[str, Any]:
        what, messages = message["what"], [message]
        for number in range(1, self.processes):
            messages.append(self._receive(f"{key}/{number}", f"process {number}", what, TIME_LIMIT))
        for number, other in enumerate(messages):
            if "error" in other:
                kind, text = other["error"]
                return {"error": [kind, f"process {number}: {text}"]}
        for number, other in enumerate(messages):
            if other["what"] != what:
                raise ValueError(
                    f"process 0 was at: {what}, and process {number} at: {other['what']}; all "
                    "processes must call the methods of Checkpoints in the same order with the "
                    "same arguments"
                )
        return {"decision": decide([other["report"] for other in messages])}

    def _receive(self, key: str, who: str, what: str, seconds: float) -> dict[str, Any]:
        try:
            return json.loads(runtime.wait_for(key, seconds))
        except ConnectionError as error:
            raise ConnectionError(f"{who} cannot be reached at: {what} ({error})") from None
        except TimeoutError:
            raise TimeoutError(
                f"{who} did not come to: {what}, within {seconds:g} s; it may have ended, or it "
                "does something else: all processes must call the methods of Checkpoints"
            ) from None

    def _encoded(self, error: Exception) -> list[str]:
        kinds = (kind.__name__ for kind in type(error).__mro__)
        return [next((kind for kind in kinds if kind in self._errors), ""), str(error)]
