"""Pictures of a run: what `render` draws, and the training curves."""

from pathlib import Path
from typing import Any

import numpy as np


def save_picture(path: Path, picture: Any) -> Path:
    """Save what `render` drew: an array as PNG, small ones magnified, a str as text.

    Args:
        path: without its suffix.
        picture: [H, W], [H, W, 1] or [H, W, 3] in [0, 1], or a str.

    Returns:
        The path with its suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, str):
        path = path.with_suffix(".txt")
        path.write_text(picture + "\n")
        return path
    from PIL import Image

    pixels = np.round(np.clip(np.asarray(picture, np.float32), 0, 1) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    zoom = max(1, 640 // max(pixels.shape[:2]))
    path = path.with_suffix(".png")
    Image.fromarray(pixels.repeat(zoom, 0).repeat(zoom, 1)).save(path)
    return path


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
    figure.savefig(path, dpi=120)
