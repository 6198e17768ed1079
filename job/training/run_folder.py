"""What lies where in a run folder, beside its checkpoints (``manifest``) and its ``summary.json`` (``summary``)."""

CONFIGURATION = "run.yaml"
GRIDS = "samples/step-"
PROGRESS = "samples/progress.gif"


def grid_key(step: int) -> str:
    """The grid of a step, zero-padded so that a plain listing is in step order: ``samples/step-000001200.png``."""
    return f"{GRIDS}{step:09d}.png"


def grid_step(key: str) -> int | None:
    """The step of a grid by its key; None for a key that is no grid's."""
    digits = key.removeprefix(GRIDS).removesuffix(".png")
    return int(digits) if key == f"{GRIDS}{digits}.png" and digits.isdigit() else None
