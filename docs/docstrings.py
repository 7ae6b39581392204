"""Bring our short docstring items into the form that numpydoc parsers read.

In the code an item of a section is one line, `name: what it is`; numpydoc wants the name alone and the text below it. Sections
that are prose (`Returns`) become one item whose type is the function's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import griffe

ITEMS = ("Parameters", "Attributes", "Raises", "Warns")
PROSE = ("Returns", "Yields")
ITEM = re.compile(r"^(?P<names>\*{0,2}\w+(?: \([^)]*\))?(?:, \*{0,2}\w+(?: \([^)]*\))?)*): (?P<text>.+)$")
RULE = re.compile(r"^-{3,}$")


class ShortItems(griffe.Extension):
    """Rewrite each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            returned = str(obj.returns) if isinstance(obj, griffe.Function) and obj.returns is not None else "value"
            obj.docstring.value = rewritten(obj.docstring.value, returned)


def rewritten(text: str, returned: str) -> str:
    """Rewrite a docstring whose function returns the type `returned`."""
    return "\n".join(_rewritten(text.splitlines(), returned))


def _rewritten(lines: list[str], returned: str) -> Iterator[str]:
    section, prose = "", False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if RULE.match(following) and line.strip():
            section, prose = line.strip(), False
            yield line
        elif RULE.match(line):
            yield line
            prose = section in PROSE
        elif prose:
            yield from _as_item(line, returned)
            prose, section = False, "prose" if line.strip() else section
        elif section == "prose":
            yield f"    {line}" if line.strip() else line
        elif section in ITEMS and (item := ITEM.match(line)):
            yield re.sub(r" \([^)]*\)", "", item["names"])
            yield f"    {item['text']}"
        else:
            yield line


def _as_item(line: str, returned: str) -> Iterator[str]:
    """Turn the first line of prose into an item; a line that already is a type stays."""
    if re.fullmatch(r"[\w.\[\], |]+", line) and " " not in line.split("[")[0]:
        yield line
    else:
        yield from (returned, f"    {line}")
