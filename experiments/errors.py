"""Errors that end a run early."""


class StoppedError(Exception):
    """The run received a signal to stop, and saved a checkpoint."""


class NotFiniteError(Exception):
    """The loss or the state is not finite."""
