"""A stand-in for a Kubernetes cluster with Agent Sandbox, on loopback: see cluster.py, and each module for what it does
NOT do."""

from tests.standins.kubernetes.cluster import Cluster
from tests.standins.kubernetes.world import Image

__all__ = ["Cluster", "Image"]
