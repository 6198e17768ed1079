"""Pack images, train on this machine, and save a grid of generated ones.

    python examples/train_and_sample.py my-images 28

Started again it resumes, or makes the grid of the finished run.
"""

import sys

from PIL import Image

from job.api import pack, train

source, side = sys.argv[1], int(sys.argv[2])
packed = pack(source, "packed", size=side, skip_bad=True)
print(f"{packed.index.num_rows:,} images of {packed.index.image_shape}")

run = train(
    preset="fashion" if side == 28 else f"dcgan{side}",
    settings={
        "uri": "runs/first",
        "data.uri": "packed",
        "model.channels": packed.index.image_shape[2],
    },
)
print(f"{run.status().state} at step {run.status().step:,}")

images = run.generator().sample(16).images  # uint8 [16, height, width, channels]
rows = images.reshape(4, 4, *images.shape[1:]).swapaxes(1, 2)
grid = rows.reshape(4 * side, 4 * side, -1).squeeze()
Image.fromarray(grid).save("grid.png")
