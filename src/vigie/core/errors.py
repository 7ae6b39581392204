"""One kind of error for everything a person can mend: it says what was found, what was expected, and what to do."""

from __future__ import annotations


class VigieError(Exception):
    """Report bad input in one line: the problem, what was found, what was expected, what to do.

    The command line prints it without a traceback and leaves with exit code 2.

    Examples
    --------
    >>> raise VigieError("image.tif has no CRS", expected="a projected CRS", do="assign one with gdal_edit -a_srs")
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: image.tif has no CRS; expected a projected CRS; to mend it: assign one with gdal_edit -a_srs
    """

    def __init__(self, problem: str, *, found: object = None, expected: object = None, do: str = "") -> None:
        self.problem, self.found, self.expected, self.do = problem, found, expected, do
        parts = [problem]
        if found is not None:
            parts.append(f"found {found}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if do:
            parts.append(f"to mend it: {do}")
        super().__init__(" ".join("; ".join(parts).split()))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.found, self.expected, self.do)


def _rebuild(kind: type[VigieError], problem: str, found: object, expected: object, do: str) -> VigieError:
    """Errors cross process borders (Dask workers) whole."""
    return kind(problem, found=found, expected=expected, do=do)


def causes(error: BaseException) -> list[BaseException]:
    """List an error and those it came from, the first of all last."""
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def reason(error: BaseException) -> str:
    """Say an error and what it came from, each once.

    Examples
    --------
    >>> reason(KeyError("links"))
    "no 'links'"
    """
    told: list[str] = []
    for cause in causes(error):
        said = f"no {cause}" if isinstance(cause, KeyError) else str(cause) or type(cause).__name__
        if not any(said in earlier for earlier in told):
            told.append(said)
    return " / ".join(told)


def counted(number: int, noun: str) -> str:
    """Put a number before a noun that takes an s.

    Examples
    --------
    >>> counted(1, "scene"), counted(2, "scene")
    ('1 scene', '2 scenes')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sized(count: float) -> str:
    """Tell a number of bytes in the unit that suits it.

    Examples
    --------
    >>> sized(0), sized(1000), sized(38_000_000), sized(2**34)
    ('0 B', '1000 B', '36.2 MiB', '16.0 GiB')
    """
    unit, *larger = "B", "KiB", "MiB", "GiB", "TiB"
    while count >= 1024 and larger:
        count, (unit, *larger) = count / 1024, larger
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Name the known word nearest to a misspelt one, as a hint for an error message ('' when none is near).

    Examples
    --------
    >>> nearest("sedd", ["seed", "name"])
    "did you mean 'seed'?"
    """
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else ""
