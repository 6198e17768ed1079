"""One HTML file with the generator, its weights and a script that computes it: no network needed.

The page is for people who get it without this program; the folder of the run is not named in it.
Values are escaped by Jinja2, and the page's own policy forbids requests.
"""

import base64

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from job.export.web_layers import latent_directions, web_layers
from job.synthesis.marking import XMP_CHUNK
from job.synthesis.source import Source

NUM_DIRECTIONS = 6


def web_page(source: Source) -> bytes:
    """Return the page of a generator of dtype float32."""
    layers = web_layers(source.generator)
    model = {
        "latentSize": source.generator.inputs[0].shape[-1],
        "classes": [each.name for each in source.classes],
        "directions": latent_directions(source.generator, NUM_DIRECTIONS).tolist(),
        "layers": [
            {"kind": each.kind, "shape": each.shape, "sizes": [array.size for array in each.arrays]}
            for each in layers
        ],
        "mark": base64.b64encode(XMP_CHUNK).decode(),
    }
    numbers = [array.ravel() for each in layers for array in each.arrays]
    weights = np.concatenate(numbers).astype("<f4").tobytes()
    environment = Environment(
        loader=PackageLoader("job.export"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("generator.html.j2").render(
        name=source.uri.split("/")[-3],  # of RUN/checkpoints/step-...
        step=source.step,
        shape=layers[-1].shape,
        num_weights=len(weights) // 4,
        model=model,
        weights=base64.b64encode(weights).decode(),
    )
    return page.encode(errors="replace")
