"""How a run ends before its end."""


class StoppedError(Exception):
    """The run was asked to stop, and has saved itself."""


class NotFiniteError(Exception):
    """The loss was no number."""
