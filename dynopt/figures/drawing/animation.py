"""An animation: frames with their durations, which is saved as a GIF or as a video."""

import importlib
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import files
from ...errors import EnvironmentProblem, InvalidValue
from .picture import Picture

FORMATS = ("gif", "mp4")
WIDTHS = {"gif": 840, "mp4": 1680}  # pixels
COLORS = 96  # of a GIF, which all of its frames share
PER_SECOND = 25  # frames of a video


class Animation:
    """Frames that show map and flow as they move. It shows itself at the end of a notebook's cell.

    - `last`: the last frame, as a picture of its own.
    - `alt`: one sentence that says what the animation shows, for readers who cannot see it.
    - `durations`: for how many milliseconds each frame is shown, the last one included.
    """

    def __init__(
        self,
        last: Picture,
        durations: Sequence[int],
        frames: Callable[[int], Iterable[np.ndarray]],
    ):
        self.last = last
        self.alt = last.alt
        self.durations = tuple(durations)
        self._frames = frames  # all but the last, of a given width in pixels

    def save(self, path: Any, *, facts: Mapping[str, str] | None = None) -> None:
        """Write the animation into a file: a GIF, or a video for a `path` that ends in ".mp4".

        A GIF is 840 pixels wide and a video 1680. The bytes are the same every time. A video needs
        the library imageio-ffmpeg: `pip install "dynopt[video]"`.

        - `facts`: what the comment of the file says besides the alt text, by name.

        **Raises:** `InvalidValue` for another kind of file; `EnvironmentProblem` if a video is
        asked for and the library is missing; `OutputError` if the file cannot be written.
        """
        path = files.as_path(path)
        files.write(path, self.encode(path.suffix[1:].lower(), facts or {}))

    def encode(self, format: str, facts: Mapping[str, str]) -> bytes:
        """The bytes of a file of this format, "gif" or "mp4", with a comment of `facts` and alt."""
        if format not in FORMATS:
            raise InvalidValue(
                f"an animation cannot be saved as {format or 'a file without a suffix'!r}; give "
                "its file a name that ends in .gif or .mp4."
            )
        lines = [f"{name}: {fact}" for name, fact in {**facts, "Description": self.alt}.items()]
        comment = files.printable("\n".join(lines))
        encode = {"gif": self._gif, "mp4": self._mp4}[format]
        return encode(comment)

    def _images(self, width: int) -> list[Image.Image]:
        """All frames, of an even height, because videos allow no other."""
        images = [Image.fromarray(frame) for frame in self._frames(width)]
        buffer = BytesIO()
        self.last.savefig(buffer, format="png", dpi=width / self.last.get_figwidth())
        images.append(Image.open(buffer).convert("RGB"))
        assert len(images) == len(self.durations)
        return [image.crop((0, 0, width, image.height // 2 * 2)) for image in images]

    def _gif(self, comment: str) -> bytes:
        images = self._images(WIDTHS["gif"])
        first, *others = _indexed(images, [images[len(images) // 2], images[-2], images[-1]])
        buffer = BytesIO()
        first.save(
            buffer, "GIF", save_all=True, append_images=others, duration=list(self.durations),
            loop=0, comment=comment.encode(), optimize=True,
        )  # fmt: skip
        return buffer.getvalue()

    def _mp4(self, comment: str) -> bytes:
        program = video_program()
        images = self._images(WIDTHS["mp4"])
        width, height = images[0].size
        pixels = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {PER_SECOND} -i -"
        video = "-c:v libx264 -pix_fmt yuv420p -crf 20 -threads 1 -flags:v +bitexact"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "animation.mp4")
            words = [program, "-loglevel", "error", *pixels.split(), *video.split()]
            words += ["-fflags", "+bitexact", "-metadata", f"comment={comment}", str(path)]
            with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
                assert process.stdin is not None
                for image, duration in zip(images, self.durations, strict=True):
                    for _ in range(round(duration * PER_SECOND / 1000)):
                        process.stdin.write(image.tobytes())
            return path.read_bytes()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The GIF, and the GIF in HTML, which shows the alt text in Jupyter and nbconvert."""
        gif = self.encode("gif", {})
        source = f"data:image/gif;base64,{b64encode(gif).decode()}"
        html = f'<img src="{source}" alt="{escape(self.alt)}" style="max-width: 100%">'
        return {"text/html": html, "image/gif": gif, "text/plain": self.alt}, {
            "image/gif": {"alt": self.alt}
        }


def video_program() -> str:
    """The path of the program ffmpeg, which writes videos.

    **Raises:** `EnvironmentProblem` if the library that ships it is missing.
    """
    try:
        return importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except ImportError:
        raise EnvironmentProblem(
            "the library imageio-ffmpeg, which writes mp4, is missing; type "
            'pip install "dynopt[video]", or write a gif.'
        ) from None


def _indexed(
    images: Sequence[Image.Image], typical: Sequence[Image.Image]
) -> Iterator[Image.Image]:
    """The images in one palette of the colours of `typical` ones; that of a corner is kept exactly.

    Each pixel has the nearest colour of the palette, which `Image.quantize` does not always find.
    """
    sample = Image.fromarray(np.concatenate([np.asarray(image) for image in typical]))
    quantized = sample.quantize(COLORS, Image.Quantize.MEDIANCUT, kmeans=2)
    palette = np.reshape(quantized.getpalette() or [], (-1, 3))
    corner: Any = sample.getpixel((0, 0))
    palette = np.concatenate([[corner], palette]).astype(np.int32)
    nearest = np.full(2**24, -1, np.int16)  # of each colour that has occurred
    for image in images:
        red, green, blue = np.moveaxis(np.asarray(image, np.int32), 2, 0)
        colors = red * 2**16 + green * 2**8 + blue
        new = np.unique(colors[nearest[colors] < 0])
        parts = np.stack([new // 2**16, new // 2**8 % 2**8, new % 2**8], 1)
        nearest[new] = ((parts[:, None] - palette) ** 2).sum(2).argmin(1)
        one = Image.frombytes("P", image.size, nearest[colors].astype(np.uint8).tobytes())
        one.putpalette([int(part) for part in palette.ravel()])
        yield one
