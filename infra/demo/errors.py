"""The errors of the demo: something is not as promised."""


class DemoError(Exception):
    """What is not as promised, in one sentence, and in ``hint`` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StalledError(DemoError):
    """Records stopped coming, although the tailer runs."""
