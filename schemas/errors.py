"""What a person has to fix before a run can go on."""


class InputError(ValueError):
    """Data or configuration that cannot be used.

    The message is one line that says what was wrong, where, and what to do. Raise it in the driver process,
    outside Beam workers: the command line prints the message alone and exits with code 2.
    """
