"""Pictures of a run: what `render` draws, and the training curves."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.errors import RunError


def save_all(folder: Path, pictures: Mapping[str, Any]) -> list[Path]:
    """Save what `render` drew, each picture under its name in one folder, and nowhere else.

    Args:
        folder: of the pictures.
        pictures: {name: picture}.

    Returns:
        The paths.

    Raises:
        RunError: before anything is written, if a name could lead out of the folder, if a picture has another
            shape, or if the folder is a link.
    """
    if folder.is_symlink():
        raise RunError(f"{folder} is a link; pictures are not written through it: make it a folder")
    for name, picture in pictures.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w .+-]{0,99}", name):
            raise RunError(f"render names a picture {name!r}; give a plain name of letters and digits")
        if not isinstance(picture, str) and not _is_picture(np.shape(picture)):
            raise RunError(
                f"picture {name} has shape {list(np.shape(picture))}; give [H, W], [H, W, 1] or [H, W, 3]"
            )
    return [save_picture(folder / name, picture) for name, picture in pictures.items()]


def save_picture(path: Path, picture: Any) -> Path:
    """Save what `render` drew: an array as PNG, small ones magnified, a str as text.

    Args:
        path: without its suffix.
        picture: [H, W], [H, W, 1] or [H, W, 3] in [0, 1], or a str.

    Returns:
        The path with its suffix.
    """
    path = path.with_name(path.name + (".txt" if isinstance(picture, str) else ".png"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # and not written through, where it is a link
    if isinstance(picture, str):
        path.write_text(picture + "\n")
        return path
    from PIL import Image

    pixels = np.round(np.clip(np.asarray(picture, np.float32), 0, 1) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    zoom = max(1, 640 // max(pixels.shape[:2]))
    Image.fromarray(pixels.repeat(zoom, 0).repeat(zoom, 1)).save(path)
    return path


def _is_picture(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))


def save_curves(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw each metric over the steps, one panel each, one line per split, as PNG.

    Args:
        path: of the PNG.
        rows: {"step", "split", metric: value, ...} each.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("step", "split")))
    if not names:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        for color, split in enumerate(dict.fromkeys(row["split"] for row in rows)):
            points = [(row["step"], row[name]) for row in rows if row["split"] == split and name in row]
            if points:
                axis.plot(
                    *zip(*points, strict=True),
                    label=split,
                    color=f"C{color}",
                    marker="." if len(points) < 30 else "",
                )
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=6, frameon=False)
    for axis in axes[len(names) :]:
        axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    figure.savefig(path, dpi=120)
