"""The doctor's questions about a Kubernetes cluster: whether it answers, what it has, and what it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.base import BackendError, BackendUnavailable
from daemon.doctor import CheckFailed, Context, Finding, warn

if TYPE_CHECKING:
    from daemon.config import Settings

_MOST = 8  # missing rights in a line that somebody reads; the first ones show which role is not bound


async def examine_cluster(settings: Settings) -> Finding:
    """The API answers, serves Agent Sandbox in a version that we know, and has the classes that are wanted."""
    from backends.kubeboxes import Boxes
    from backends.kubecluster import Cluster
    from backends.kubespaces import Spaces
    from backends.manifests import Names
    from daemon.start import kubernetes_options

    options = kubernetes_options(settings)
    cluster, names = Cluster(options.kubeconfig), Names("doctor", options.prefix)
    try:
        version = await Boxes(cluster, options, names).version()
        await Spaces(cluster, options, names).require_classes()
    except BackendUnavailable as error:
        raise CheckFailed(str(error), _remedy(settings)) from None
    except BackendError as error:
        raise CheckFailed("k8s cannot start sandboxes", str(error)) from None
    finally:
        cluster.close()
    storage = options.storage_class or "the default storage class"
    detail = f"k8s, Agent Sandbox {version}, image {options.image}, disks of {storage} ({options.access_mode})"
    if options.runtime is None:
        return warn(
            f"{detail}; sandboxes share their nodes' kernel",
            "where people do not trust each other, install gVisor and name its RuntimeClass by AGENT_RUNTIME",
        )
    return Finding(f"{detail}, runtime class {options.runtime}")


def _remedy(settings: Settings) -> str:
    if settings.kubeconfig is not None:
        return f"see whether kubectl --kubeconfig {settings.kubeconfig} get namespaces answers"
    return "see that a network policy lets this pod reach the cluster's API; outside of a cluster, set KUBECONFIG"


async def check_rights(context: Context) -> Finding:
    """What the server asks of a cluster, it may."""
    settings = context.settings
    if settings.backend != "k8s":
        return Finding("asked of a cluster only")
    from backends.kubecluster import Cluster
    from backends.kuberights import missing
    from daemon.start import kubernetes_options

    options = kubernetes_options(settings)
    cluster = Cluster(options.kubeconfig)
    try:
        lacking = await missing(cluster, options)
    except BackendError as error:
        return warn(f"they were not looked at: {error}", "see the check of the backend")
    finally:
        cluster.close()
    if lacking:
        more = f" and {len(lacking) - _MOST} more" if len(lacking) > _MOST else ""
        raise CheckFailed(
            f"the cluster does not let this server {', '.join(lacking[:_MOST])}{more}",
            "give its service account the chart's ClusterRoles (rbac.create), or the same by hand: docs/kubernetes.md",
        )
    if options.workspace_role is None:
        return Finding("all that it needs, also in the workspaces' namespaces")
    return Finding(f"all that it needs, and {options.workspace_role} in the workspaces' namespaces")
