import imageio.v3 as iio
import numpy as np
from PIL import Image

from digitgan.runs.folder import progression_gif


def test_progression_rests_on_the_last_frame(tmp_path):
    frames = []
    for epoch in range(4):
        frames.append(tmp_path / f"{epoch:03}.png")
        Image.fromarray(np.full((20, 90), 60 * epoch, np.uint8)).save(frames[-1])
    progression_gif(frames, tmp_path / "p.gif")
    assert iio.imread(tmp_path / "p.gif").shape[0] == 4
    with Image.open(tmp_path / "p.gif") as picture:
        durations = []
        for i in range(4):
            picture.seek(i)
            durations.append(picture.info["duration"])
    assert durations[-1] > 2 * durations[0]
