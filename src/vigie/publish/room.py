"""Room on the disk, asked before large files are written: some libraries say little, or crash, when it runs out."""

from __future__ import annotations

import shutil
from pathlib import Path

from vigie.core.errors import VigieError, sized


def check_room(path: Path, need_bytes: int) -> None:
    """Refuse to begin a file that the disk may not hold.

    Parameters
    ----------
    path: the file to write; its folder exists.
    need_bytes: its size before compression.

    Raises
    ------
    VigieError: less than that is free.

    Examples
    --------
    >>> check_room(Path("map.tif"), need_bytes=1)
    """
    free = shutil.disk_usage(path.parent).free
    if need_bytes > free:
        raise VigieError(
            f"the disk may not hold {path}",
            found=f"{sized(free)} free",
            expected=f"{sized(need_bytes)}, its size before compression",
            do="free space or choose another folder with --out, then run the same command again",
        )
