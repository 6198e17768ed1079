"""The structure of the code: imports between folders, libraries of each, length of modules.

Every rule is a function from sources to complaints, tried first on a small tree that breaks it and
then on the repository. A tree maps a file's path to its text.
"""

import ast
import functools
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A folder of job/ imports only from itself and from folders to its left (docs/architecture.md).
FOLDERS = (
    "config",
    "telemetry",
    "storage",
    "gan",
    "data",
    "streaming",
    "checkpoints",
    "sources",
    "packing",
    "images",
    "quality",
    "run",
    "tracking",
    "report",
    "training",
    "synthesis",
    "export",
    "launch",
    "doctor",
    "api",
    "cli",
)

# What is heavy, or would tie a concern to a framework, and the folders that may load it.
MAY_LOAD = {
    "ray": {"launch"},
    "tensorflow": {"gan", "quality", "training", "synthesis"},
    "keras": {"gan", "quality", "training", "synthesis", "export", "api"},
    "boto3": {"storage"},
    "botocore": {"storage"},
    "tenacity": {"storage"},
    "click": {"cli"},
    "prometheus_client": {"telemetry"},
    "tensorboardX": {"run"},
    "jinja2": {"report", "export"},
    "pyarrow": {"synthesis"},
    "mlflow": {"tracking"},
    "wandb": {"tracking"},
    "trackio": {"tracking"},
}

# Loaded by a function, only for data sets of this library: `keras:fashion_mnist` and others.
ONLY_WHEN_ASKED = {("job/sources/keras_datasets.py", "keras")}

# Other homes of Keras than `import keras`; some are Keras 2.
OTHER_KERAS = (
    "tensorflow.keras",
    "tensorflow.python.keras",
    "tf_keras",
    "ray.train.tensorflow.keras",
)

MAX_LINES = 350
# A folder that grows past this is more than one concern.
MAX_SHARE = 1 / 5

VAGUE_NAMES = {"utils", "util", "common", "helpers", "manager", "base", "misc"}

# Modules without a test of their name, and where their test is. Only ever shorter.
TESTED_ELSEWHERE = {
    "job/config/errors.py": "classes of errors; tests/cli/test_main.py has their exit codes",
    "job/config/fields.py": "tests/config/test_load.py",
    "job/config/model.py": "fields of a run; tests/config/test_load.py",
    "job/config/objective.py": "fields of a run; tests/config/test_check_training.py",
    "job/config/spec.py": "fields of a run; tests/config/test_load.py",
    "job/config/storage.py": "fields of a run; tests/config/test_load.py",
    "job/config/validation.py": "tests/config/test_load.py",
    "job/config/versions.py": "names of packages; tests/training/test_preflight.py",
    "job/gan/objectives/": "one test for all of them: tests/gan/objectives/test_objectives.py",
    "job/gan/replica_variable.py": "needs replicas: tests/training/test_group.py",
    "job/launch/failure.py": "needs Ray: tests/launch/test_failing.py",
    "job/launch/fork_client.py": "needs its server: tests/launch/test_fork_server.py",
    "job/launch/generation.py": "needs Ray: tests/launch/test_life.py",
    "job/launch/run.py": "needs Ray: tests/launch/test_life.py",
    "job/launch/trainer.py": "needs Ray: tests/launch/test_life.py",
    "job/streaming/events.py": "an interface; tests/streaming/test_fetch.py",
    "job/synthesis/": "the tests of tests/synthesis are of several modules",
}

_parse = functools.cache(ast.parse)  # each file is checked by several rules
Tree = dict[str, str]
Rule = Callable[[Tree], Iterator[str]]


def module_name(path: str) -> str:
    """Return ``job.storage.s3`` for ``job/storage/s3.py``, without ``__init__``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def folder_of(module: str) -> str | None:
    """Return the folder of job/ that a module is in; None for others."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "job" and parts[1] in FOLDERS else None


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each import below ``node``; ``from a import b`` also as a.b."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield child.lineno, alias.name
        elif isinstance(child, ast.ImportFrom):
            source = "." * child.level + (child.module or "")
            yield child.lineno, source
            for alias in child.names:
                yield child.lineno, f"{source}.{alias.name}"


def lies_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def arrows_point_up(tree: Tree) -> Iterator[str]:
    """Also for imports inside functions: those hide a circle, they do not remove it."""
    for path, source in tree.items():
        here = folder_of(module_name(path))
        for line, name in imports(_parse(source)):
            there = folder_of(name)
            if name.startswith("."):
                yield f"{path}:{line}: relative import; expected `from job...`"
            elif here and there and FOLDERS.index(there) > FOLDERS.index(here):
                yield f"{path}:{line}: job/{here} imports {name}, from further down"
            elif here and name in ("job.cli", "job.__main__") and here != "cli":
                yield f"{path}:{line}: job/{here} imports the program"


def folders_are_known(tree: Tree) -> Iterator[str]:
    for path in tree:
        parts = path.split("/")
        if len(parts) > 2 and parts[0] == "job" and parts[1] not in FOLDERS:
            yield f"{path}: job/{parts[1]} has no place in the order of imports"


def modules_have_no_circle(tree: Tree) -> Iterator[str]:
    """Between single modules, for imports that run when the module is loaded."""
    modules = {module_name(path): source for path, source in tree.items()}
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        loaded = [
            node for node in _parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        graph[module] = {
            name
            for node in loaded
            for _, name in imports(node)
            if name in modules and name != module
        }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "circle of imports: " + " -> ".join(reversed(error.args[1]))


def libraries_stay_in_their_folders(tree: Tree) -> Iterator[str]:
    for path, source in tree.items():
        here = folder_of(module_name(path))
        parsed = _parse(source)
        when_asked = {
            line
            for function in ast.walk(parsed)
            if isinstance(function, ast.FunctionDef)
            for line, _ in imports(function)
        }
        for line, name in imports(parsed):
            library = name.split(".")[0]
            allowed = here in MAY_LOAD.get(library, {here}) or (
                (path, library) in ONLY_WHEN_ASKED and line in when_asked
            )
            if path.startswith("job/") and not allowed:
                yield f"{path}:{line}: {library} is for {', '.join(sorted(MAY_LOAD[library]))} only"


def keras_is_keras_3(tree: Tree) -> Iterator[str]:
    for path, source in tree.items():
        parsed = _parse(source)
        for line, name in imports(parsed):
            if any(lies_in(name, banned) for banned in OTHER_KERAS):
                yield f"{path}:{line}: {name} is Keras 2 in a Ray worker; `import keras`"
        for node in ast.walk(parsed):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("tf.keras", *OTHER_KERAS):
                name = ast.unparse(node)
                yield f"{path}:{node.lineno}: {name} is Keras 2 in a Ray worker; `import keras`"


def modules_are_short(tree: Tree) -> Iterator[str]:
    for path, source in tree.items():
        if (lines := source.count("\n")) > MAX_LINES:
            yield f"{path}: {lines} lines; at most {MAX_LINES}"


def folders_share_the_work(tree: Tree) -> Iterator[str]:
    """Only for a tree in which every folder has code."""
    sizes = dict.fromkeys(FOLDERS, 0)
    for path, source in tree.items():
        if folder := folder_of(module_name(path)):
            sizes[folder] += source.count("\n")
    total = sum(sizes.values())
    for folder, lines in sizes.items():
        if all(sizes.values()) and lines > MAX_SHARE * total:
            yield f"job/{folder}: {lines} of {total} lines; at most {MAX_SHARE:.0%}"


def modules_say_what_they_are(tree: Tree) -> Iterator[str]:
    for path, source in tree.items():
        parsed = _parse(source)
        if parsed.body and not ast.get_docstring(parsed):
            yield f"{path}: no docstring; the first line says what the module is"


def names_are_of_the_field(tree: Tree) -> Iterator[str]:
    for path in tree:
        if Path(path).stem in VAGUE_NAMES:
            yield f"{path}: the name says nothing; expected the field's word for its one concept"


def modules_have_a_test_of_their_name(tree: Tree) -> Iterator[str]:
    """For a tree with the tests: ``tests/gan/test_step.py`` tests ``job/gan/step.py``."""
    for path in tree:
        folder, _, name = path.removeprefix("job/").rpartition("/")
        if not path.startswith("job/") or not folder or name == "__init__.py":
            continue
        test = f"tests/{folder}/test_{name}"
        elsewhere = path in TESTED_ELSEWHERE or f"job/{folder}/" in TESTED_ELSEWHERE
        if test not in tree and not elsewhere:
            yield f"{path}: no {test}; write it, or say in TESTED_ELSEWHERE where its test is"
        if test in tree and path in TESTED_ELSEWHERE:
            yield f"{path}: has {test}; take it from TESTED_ELSEWHERE"


RULES: tuple[Rule, ...] = (
    arrows_point_up,
    folders_are_known,
    modules_have_no_circle,
    libraries_stay_in_their_folders,
    keras_is_keras_3,
    modules_are_short,
    folders_share_the_work,
    modules_say_what_they_are,
    names_are_of_the_field,
)

BROKEN: list[tuple[Rule, Tree, str]] = [
    (
        arrows_point_up,
        {"job/config/spec.py": "import job.storage.store\n"},
        "job/config imports job.storage.store",
    ),
    (
        arrows_point_up,
        {"job/config/spec.py": "from job import cli\n"},
        "job/config imports job.cli",
    ),
    (
        arrows_point_up,
        {"job/training/loop.py": "def run():\n    from job.launch.trainer import start\n"},
        "loop.py:2: job/training imports job.launch",
    ),
    (arrows_point_up, {"job/data/pack.py": "from ..storage import store\n"}, "relative import"),
    (folders_are_known, {"job/tools/__init__.py": ""}, "job/tools has no place"),
    (
        modules_have_no_circle,
        {
            "job/data/a.py": "import job.data.b\n",
            "job/data/b.py": "from job.data import c\n",
            "job/data/c.py": "from job.data.a import x\n",
        },
        "circle of imports",
    ),
    (
        libraries_stay_in_their_folders,
        {"job/training/loop.py": "import ray\n"},
        "ray is for launch only",
    ),
    (
        libraries_stay_in_their_folders,
        {"job/data/pack.py": "def f():\n    from keras import datasets\n"},
        "pack.py:2: keras is for api, export, gan",
    ),
    (
        libraries_stay_in_their_folders,
        {"job/sources/keras_datasets.py": "import keras\n"},
        "keras_datasets.py:1: keras is for api, export, gan",
    ),
    (
        libraries_stay_in_their_folders,
        {"job/storage/s3.py": "import tensorflow as tf\n"},
        "tensorflow is for gan",
    ),
    (
        libraries_stay_in_their_folders,
        {"job/__main__.py": "import tensorflow as tf\n"},
        "tensorflow is for gan",
    ),
    (
        keras_is_keras_3,
        {"job/gan/model.py": "from tensorflow import keras\n"},
        "tensorflow.keras is Keras 2",
    ),
    (
        keras_is_keras_3,
        {"job/gan/model.py": "import tensorflow as tf\nlayer = tf.keras.layers.Dense\n"},
        "model.py:2: tf.keras is Keras 2",
    ),
    (
        keras_is_keras_3,
        {"job/launch/a.py": "from ray.train.tensorflow.keras import ReportCheckpointCallback\n"},
        "ray.train.tensorflow.keras is Keras 2",
    ),
    (
        modules_are_short,
        {"job/gan/model.py": "x = 1\n" * (MAX_LINES + 1)},
        f"{MAX_LINES + 1} lines",
    ),
    (
        folders_share_the_work,
        {
            f"job/{folder}/a.py": "x = 1\n" * (1010 if folder == "data" else 200)
            for folder in FOLDERS
        },
        "job/data: 1010 of 5010 lines",
    ),
    (modules_say_what_they_are, {"job/gan/model.py": "import keras\n"}, "no docstring"),
    (
        modules_say_what_they_are,
        {"job/gan/model.py": "# Copyright\nimport keras\n'''Late.'''\n"},
        "no docstring",
    ),
    (names_are_of_the_field, {"job/data/utils.py": ""}, "says nothing"),
]

SOUND: Tree = {
    "job/__init__.py": "",
    "job/__main__.py": '"""The program."""\nfrom job.cli.main import run\n',
    "job/cli/main.py": (
        '"""Commands."""\nimport click\ndef train():\n    from job.launch import trainer\n'
    ),
    "job/config/spec.py": '"""A run."""\nimport yaml\nfrom job.config.errors import ConfigError\n',
    "job/config/errors.py": '"""Errors."""\n',
    "job/data/store.py": (
        '"""Lazily, these two name each other."""\n'
        "def open():\n    from job.data.local import Local\n"
    ),
    "job/data/local.py": '"""A folder."""\nfrom job.data.store import open\n',
    "job/sources/keras_datasets.py": '"""Data sets of Keras."""\ndef open():\n    import keras\n',
    "job/gan/model.py": (
        '"""A model."""\nimport keras\nimport tensorflow as tf\nlayer = keras.layers.Dense\n'
    ),
    "job/launch/trainer.py": (
        '"""Ray."""\nimport ray.train.tensorflow\nfrom job.training import loop\n'
    ),
    "job/training/loop.py": '"""The loop."""\n',
}


def sources(*folders: str) -> Tree:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize(
    ("rule", "tree", "complaint"),
    BROKEN,
    ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BROKEN)],
)
def test_rule_sees_what_breaks_it(rule: Rule, tree: Tree, complaint: str) -> None:
    assert any(complaint in found for found in rule(tree)), list(rule(tree))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_leaves_sound_code_alone(rule: Rule) -> None:
    assert list(rule(SOUND)) == []
    assert rule in [broken for broken, _, _ in BROKEN]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_our_code_keeps_the_rule(rule: Rule) -> None:
    tree = sources("job")
    assert len(tree) > len(FOLDERS)
    assert list(rule(tree)) == []


def test_tests_and_benchmarks_use_keras_3_and_say_what_they_are() -> None:
    tree = sources("tests", "bench")
    assert "tests/test_architecture.py" in tree
    assert [*keras_is_keras_3(tree), *modules_say_what_they_are(tree)] == []


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (
            ["job/gan/step.py", "tests/gan/test_layers.py"],
            "step.py: no tests/gan/test_step.py",
        ),
        (["job/gan/step.py", "tests/test_step.py"], "step.py: no tests/gan/test_step.py"),
        (
            ["job/launch/trainer.py", "tests/launch/test_trainer.py"],
            "take it from TESTED_ELSEWHERE",
        ),
        (["job/gan/step.py", "tests/gan/test_step.py"], None),
        (["job/__main__.py", "job/gan/__init__.py", "job/launch/trainer.py"], None),
    ],
)
def test_a_module_without_a_test_is_seen(paths: list[str], complaint: str | None) -> None:
    found = list(modules_have_a_test_of_their_name(dict.fromkeys(paths, "")))
    assert len(found) == (complaint is not None)
    assert all(str(complaint) in each for each in found)


def test_every_module_has_a_test_of_its_name() -> None:
    tree = sources("job", "tests")
    assert list(modules_have_a_test_of_their_name(tree)) == []
    known = [*tree, *{f"{path.rpartition('/')[0]}/" for path in tree}]
    assert [path for path in TESTED_ELSEWHERE if path not in known] == []
    named = re.findall(r"tests/[\w/]+\.py", " ".join(TESTED_ELSEWHERE.values()))
    assert [path for path in named if path not in tree] == []
