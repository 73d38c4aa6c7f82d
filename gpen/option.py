"""One option: its values, its words, and the control that sets it."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from .errors import OptionError


@dataclass(frozen=True)
class Option:
    """One option as a user sees it."""

    name: str
    """Its key everywhere: field of :class:`Options`, flag, widget, API field."""
    default: bool | int | float | str
    """The value where none is given; its type is that of all values."""
    label: str
    """A few words for a control."""
    help: str
    """One or more sentences; they name every choice."""
    group: str
    """What it is about, for grouping flags."""
    minimum: float | None = None
    """Of a number; None otherwise, like ``maximum`` and ``step``."""
    maximum: float | None = None
    """Of a number."""
    step: float | None = None
    """By how much a slider moves."""
    choices: tuple[str, ...] = ()
    """The valid values, where it is a choice."""
    advanced: bool = False
    """Whether most users never need it."""
    switch: tuple[str, ...] = ()
    """The choices that False and True stand for, where it used to be a yes-or-no option."""
    default_words: str = ""
    """What a command's help says of the default, where that is not the value alone."""

    @property
    def kind(self) -> type:
        """The type of every valid value: bool, int, float or str."""
        return type(self.default)

    def check(self, value: object) -> bool | int | float | str:
        """Return ``value`` as this option's type; OptionError when it is not one of its values."""
        if self.switch and isinstance(value, bool):
            value = self.switch[value]
        checked = self._typed(value)
        if self.choices and checked not in self.choices:
            raise OptionError(f"{self.label} is {value!r}, which is not one of its choices: {', '.join(self.choices)}.")
        if self.minimum is not None and self.maximum is not None:
            # NaN, too, is not between them.
            between = isinstance(checked, int | float) and self.minimum <= checked <= self.maximum
            if not between:
                raise OptionError(
                    f"{self.label} is {value!r}; it has to lie between {self.minimum:g} and {self.maximum:g}."
                )
        return checked

    def control(self) -> tuple[str, dict[str, Any]]:
        """The Gradio component that sets it: the class name, the same in Gradio 3 to 6, and arguments for its values.

        Value, label and info are the caller's.
        """
        if self.choices:
            return "Dropdown", {"choices": list(self.choices)}
        if self.kind is bool:
            return "Checkbox", {}
        if self.kind is str:
            return "Textbox", {}
        return "Slider", {"minimum": self.minimum, "maximum": self.maximum, "step": self.step}

    def _typed(self, value: object) -> bool | int | float | str:
        if self.kind is bool and isinstance(value, bool):
            return value
        if self.kind is str and isinstance(value, str):
            return value
        # NumPy's numbers are numbers, too.
        if self.kind in (int, float) and isinstance(value, numbers.Real) and not isinstance(value, bool):
            if self.kind is float:
                return _as_float(value)
            if isinstance(value, numbers.Integral):
                return int(value)
            if _as_float(value).is_integer():
                return int(_as_float(value))
        wanted = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}[self.kind]
        raise OptionError(f"{self.label} is {value!r}, which is not {wanted}.")


def _as_float(number: Any) -> float:
    """The number as a float, infinite where no float is as large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
