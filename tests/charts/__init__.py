"""The Helm chart, rendered by Helm and judged by the programs that would judge it in a cluster."""
