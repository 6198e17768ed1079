"""Load TensorFlow quietly, in a command that needs it."""

import os


def load_tensorflow() -> None:
    """Import TensorFlow and let it find its devices, without its log lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import logging  # takes 8 ms, which `--help` need not wait for

    # Without its warnings of retracing: each classifier is another function.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from job.telemetry.quiet import quiet_stderr

    with quiet_stderr():
        from job.quality.classifier import build_classifier

        build_classifier((8, 8, 1), 2, 0)  # its first operation searches for GPUs and reports that
