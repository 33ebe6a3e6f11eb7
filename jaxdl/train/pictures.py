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
            shapes = "[H, W], [H, W, 1], [H, W, 3] or [T, H, W, 3]"
            raise RunError(f"picture {name} has shape {list(np.shape(picture))}; give {shapes}")
    return [save_picture(folder / name, picture) for name, picture in pictures.items()]


def save_picture(path: Path, picture: Any) -> Path:
    """Save what `render` drew: an array as PNG, frames as an animated GIF, both magnified, a str as text.

    Args:
        path: without its suffix.
        picture: [H, W], [H, W, 1] or [H, W, 3] in [0, 1]; frames [T, H, W, 3], 25 of them a second; or a str.

    Returns:
        The path with its suffix.
    """
    suffix = ".txt" if isinstance(picture, str) else ".gif" if np.ndim(picture) == 4 else ".png"
    path = path.with_name(path.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # and not written through, where it is a link
    if isinstance(picture, str):
        path.write_text(picture + "\n")
        return path
    from PIL import Image

    pixels = np.round(np.clip(np.asarray(picture, np.float32), 0, 1) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    frames = pixels if pixels.ndim == 4 else pixels[None]
    zoom = max(1, 640 // max(frames.shape[1:3]))
    first, *rest = (Image.fromarray(frame.repeat(zoom, 0).repeat(zoom, 1)) for frame in frames)
    animation: dict[str, Any] = {"append_images": rest, "duration": 40, "loop": 0} if rest else {}
    first.save(path, save_all=bool(rest), **animation)
    return path


def _is_picture(shape: tuple[int, ...]) -> bool:
    channels = {3: (1, 3), 4: (3,)}.get(len(shape), ())
    return 0 not in shape and (len(shape) == 2 or shape[-1:] in [(count,) for count in channels])


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
    width, height = 3.2 * columns, 2.4 * lines + 0.2
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    # Margins in inches: a layout that fits itself to the labels draws all of them twice.
    margins = {"left": 0.6 / width, "right": 1 - 0.1 / width, "bottom": 0.3 / height, "top": 1 - 0.5 / height}
    grid = margins | {"wspace": 0.26, "hspace": 0.34}
    axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw=grid).ravel()
    splits = {}
    for axis, name in zip(axes, names, strict=False):
        for color, split in enumerate(dict.fromkeys(row["split"] for row in rows)):
            points = [(row["step"], row[name]) for row in rows if row["split"] == split and name in row]
            if points:
                marker = "." if len(points) < 30 else ""
                (splits[split],) = axis.plot(*zip(*points, strict=True), color=f"C{color}", marker=marker)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.locator_params(axis="x", nbins=5)
    figure.legend(splits.values(), splits, loc="upper center", ncols=3, fontsize=7, frameon=False)
    for axis in axes[len(names) :]:
        axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    figure.savefig(path, dpi=120)
