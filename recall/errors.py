"""The one exception for faults that a user can mend."""


class InputError(ValueError):
    """Bad input, in one line: what is wrong, where, and what to do.

    Raised for files, rows, configuration keys, folders, ports and requests
    that are not as they must be. The command line prints its text without a
    traceback; any other exception is a defect of this software.
    """
