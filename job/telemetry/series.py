"""The present values of a registry by the names that Prometheus has for them: what a run keeps when nobody scraped it.

Without the labels every series of the worker has, without the buckets of histograms, and of the process only its memory. Of the series that differ
by a further label (a reason, a phase) those that are not 0: most stay there.
"""

from prometheus_client import CollectorRegistry

LABELS_OF_ALL = ("run", "rank")
OF_THE_PROCESS = "process_resident_memory_bytes"


def current_values(registry: CollectorRegistry) -> dict[str, float]:
    """``{"dcgan_step": 1200.0, 'dcgan_checkpoints_total{outcome="failed"}': 1.0, ...}``."""
    values: dict[str, float] = {}
    for metric in registry.collect():
        if metric.type == "info" or (
            metric.name.startswith("process_") and metric.name != OF_THE_PROCESS
        ):
            continue
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                continue
            labels = ",".join(
                f'{name}="{value}"'
                for name, value in sample.labels.items()
                if name not in LABELS_OF_ALL
            )
            if sample.value or not labels:
                values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values
