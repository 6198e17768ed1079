"""Names and addresses of one cluster, all from its number, so that two clusters share none.

Pure. Knows nothing of how they are brought about.
"""

from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "node"
# The cluster's folder inside the node: a socket's path has at most 107 bytes.
NODE_FOLDER = Path("/run/node")
API_PORT = 6443


@dataclass(frozen=True)
class Plan:
    """Cluster ``number``, 1 to 250: a link of two addresses, 254 pods and 254 services."""

    number: int

    @property
    def name(self) -> str:
        """Return the name of the link on this side, and of the node's cgroups."""
        return f"dcgank{self.number}"

    @property
    def host_address(self) -> str:
        """This machine as the node sees it."""
        return f"10.78.{self.number}.1"

    @property
    def node_address(self) -> str:
        return f"10.78.{self.number}.2"

    @property
    def pods(self) -> str:
        return f"10.79.{self.number}.0/24"

    @property
    def services(self) -> str:
        return f"10.80.{self.number}.0/24"

    @property
    def dns_address(self) -> str:
        """One of ``services``, by custom the tenth."""
        return f"10.80.{self.number}.10"

    @property
    def api_url(self) -> str:
        return f"https://{self.node_address}:{API_PORT}"
