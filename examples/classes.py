"""Train on the classes of Fashion-MNIST, and make as many images of each as are wanted.

python examples/classes.py
"""

import numpy as np

from job.api import pack, train

packed = pack("keras:fashion_mnist", "packed/fashion")
run = train(
    preset="fashion",
    settings={
        "uri": "runs/classes",
        "data.uri": "packed/fashion",
        "model.conditional": True,
    },
)
generator = run.generator()

few = generator.sample(100, classes=["sandal", "bag"], seed=1)  # in turn
print({name: int((few.labels == label).sum()) for label, name in enumerate(few.class_names)})

balanced = generator.sample(1000, balanced=True)
np.savez("synthetic.npz", images=balanced.images, labels=balanced.labels)
