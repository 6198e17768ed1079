"""The program as a library: pack, train, resume, load a generator, sample, evaluate.

>>> from job.api import evaluate, fit_features, load_generator, pack, train
>>> pack("my-images", "packed/my-images", size=64)
>>> fit_features("packed/my-images")
>>> run = train(preset="dcgan64", settings={"uri": "runs/first", "data.uri": "packed/my-images"})
>>> images = load_generator(run.uri).sample(16).images  # uint8 [16, 64, 64, 3]
>>> evaluate(run.uri, "packed/my-images").generated.frechet_distance

Every URI is a folder or ``s3://bucket/prefix``; ``storage`` has keys of the section ``storage`` of
``run.yaml``. What the program would say before it exits is raised: a ``DcganError``, with the exit
code of the command line as ``exit_code``. TensorFlow and Ray are loaded by the first call that
needs them.
"""

from job.api import data, generator, quality, run
from job.api.arguments import python_names
from job.api.generator import Generator
from job.api.run import Run
from job.config.errors import ConfigError, DataError, DcganError, DivergedError, StorageError
from job.quality import Usefulness

# Commands call some of these functions, too, and there errors name options.
evaluate = python_names()(quality.evaluate)
fit_features = python_names()(data.fit_features)
load_generator = python_names()(generator.load_generator)
open_packed = python_names()(data.open_packed)
pack = python_names()(data.pack)
train = python_names()(run.train)

__all__ = [
    "ConfigError",
    "DataError",
    "DcganError",
    "DivergedError",
    "Generator",
    "Run",
    "StorageError",
    "Usefulness",
    "evaluate",
    "fit_features",
    "load_generator",
    "open_packed",
    "pack",
    "train",
]
