"""``python -m job``: the ``dcgan-train`` command where the package is only a folder, as under ``ray job submit --working-dir``."""

from job.cli.main import run

if __name__ == "__main__":
    run()
