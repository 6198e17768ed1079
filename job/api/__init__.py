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

from job.api.data import fit_features, open_packed, pack
from job.api.generator import Generator, load_generator
from job.api.quality import evaluate
from job.api.run import Run, train
from job.config.errors import ConfigError, DataError, DcganError, DivergedError, StorageError
from job.quality import Usefulness

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
