"""Errors for people: each says what was found, what was expected, and what to do."""


class GpenError(Exception):
    """Anything a user can cause. Its text is shown to the user as it stands."""

    # ComfyUI names our modules after the folder that they are in, and shows an error's module to the user.
    __module__ = "gpen.errors"

    def __init_subclass__(cls) -> None:
        cls.__module__ = GpenError.__module__


class CheckpointError(GpenError):
    """A weight file cannot be used: it is damaged, unsafe, or made for another network."""


class PhotoError(GpenError):
    """A picture cannot be read or written."""


class FilesError(GpenError):
    """A weight file or detector file is missing, or could not be fetched."""


class FaceError(GpenError):
    """Faces cannot be detected, selected, read from a file, or aligned."""


class OptionError(GpenError):
    """An option has a value outside what it allows."""


class OutOfMemoryError(GpenError):
    """The device has too little memory, also after everything that saves memory was tried."""
