"""The ground floor: where assets lie, what a user's mistake is, and whole files."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# asset/ of the repository, or the part of it that an installed package carries
ASSET = REPOSITORY / "asset" if (REPOSITORY / "asset").is_dir() else Path(__file__).parent / "asset"


class Mistake(ValueError):
    """Something asked for that cannot be: one line with the value received and the rule."""

    def _render_traceback_(self):  # a notebook then shows the line alone, without the traceback
        return [f"Mistake: {self}"]


def write_whole(path, content):
    """Write bytes to `path` in one step, making its folder: nobody ever sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
