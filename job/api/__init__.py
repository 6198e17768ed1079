"""The program as a library: pack, train, resume, load a generator, sample, evaluate.

>>> from job.api import evaluate, fit_features, load_generator, pack, train
>>> pack("my-images", "packed/my-images", size=64)
>>> fit_features("packed/my-images")
>>> run = train(preset="small64", settings={"uri": "runs/first", "data.uri": "packed/my-images"})
>>> images = load_generator(run.uri).sample(16).images  # uint8 [16, 64, 64, 3]
>>> evaluate(run.uri, "packed/my-images").generated.frechet_distance

Every URI is a folder or ``s3://bucket/prefix``; ``storage`` has keys of the section ``storage`` of
``run.yaml``. What the program would say before it exits is raised: a ``DcganError``, with the exit
code of the command line as ``exit_code``. TensorFlow and Ray are loaded by the first call that
needs them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from job.api import data, generator, quality, run
from job.api.arguments import python_names
from job.api.generator import Generator
from job.api.run import Run
from job.config.errors import ConfigError, DataError, DcganError, DivergedError, StorageError
from job.quality import Usefulness

Function = TypeVar("Function", bound=Callable[..., Any])


def _public(function: Function) -> Function:
    """Commands call some of these functions, too, and there errors name options."""
    named = python_names()(function)
    named.__module__ = __name__  # by which another process finds it, if it is pickled
    return named


evaluate = _public(quality.evaluate)
fit_features = _public(data.fit_features)
load_generator = _public(generator.load_generator)
open_packed = _public(data.open_packed)
pack = _public(data.pack)
train = _public(run.train)

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
