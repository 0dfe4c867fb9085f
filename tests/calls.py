"""How often functions are called while something runs, whoever imported them under whatever name."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType


def count(run: Callable[[], object], *functions: Callable[..., object]) -> Counter[str]:
    """Run something, and count the calls of functions by their names."""
    names = {function.__code__: function.__name__ for function in functions}  # type: ignore[attr-defined]
    found = Counter(dict.fromkeys(names.values(), 0))

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in names:
            found[names[frame.f_code]] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return found
