"""``python -m job``: the ``dcgan-train`` command if the package is not installed.

For example under ``ray job submit --working-dir``.
"""

from job.cli.main import run

if __name__ == "__main__":
    run()
