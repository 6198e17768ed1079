"""The values of a registry for the metric rows of a run, by their Prometheus names.

Left out are the labels of all series, histogram buckets, and series of the process other than its
memory. Series with a further label (a reason, a phase) are left out while they are 0, as most are.
"""

from prometheus_client import CollectorRegistry

from job.telemetry.instruments import LABELS

PROCESS_MEMORY = "process_resident_memory_bytes"


def current_values(registry: CollectorRegistry) -> dict[str, float]:
    """Return ``{"dcgan_step": 1200.0, 'dcgan_checkpoints_total{outcome="failed"}': 1.0}``."""
    values: dict[str, float] = {}
    for metric in registry.collect():
        if metric.type == "info" or (
            metric.name.startswith("process_") and metric.name != PROCESS_MEMORY
        ):
            continue
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                continue
            labels = ",".join(
                f'{name}="{value}"' for name, value in sample.labels.items() if name not in LABELS
            )
            if sample.value or not labels:
                values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values
