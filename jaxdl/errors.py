"""What can go wrong for reasons that the user can mend; the command line shows each as one line."""


class InputError(ValueError):
    """Say that an argument, option, file or folder is wrong, naming the value and the fix."""


class RunError(RuntimeError):
    """Say why a run that was under way cannot go on."""


class Interrupted(RunError):
    """Say that a signal ended the run after its state was saved."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
