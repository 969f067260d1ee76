"""What Corinth raises when something outside it is wrong: one sentence; what, where, and what would be right."""


class CorinthError(Exception):
    """Base of every error a user can cause; the command line prints it as one line and leaves with `exit_code`."""

    exit_code = 1


class UsageError(CorinthError, ValueError):
    """A wrong name, option or combination of options: nothing was started."""

    exit_code = 2


class DataError(CorinthError):
    """The data cannot be used: a missing folder, an empty class, too many corrupt files."""


class WeightsError(CorinthError):
    """A checkpoint does not belong to the model, is damaged, or is not plain data."""


class TrainingError(CorinthError):
    """A training had to stop: a loss that is not finite, a disk that is full."""
