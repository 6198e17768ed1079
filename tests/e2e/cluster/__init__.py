"""A real Kubernetes of one node with KubeRay's operator: root, but no systemd, Docker or registry.

    python -m tests.e2e.cluster up         about a minute; again, it says that one is up
    eval "$(python -m tests.e2e.cluster env)"
    kubectl get pods -A
    python -m tests.e2e.cluster down       nothing is left but logs

The node is one process in fresh namespaces (``namespaces.py``), in which the programs of a cluster
run as on a separate machine (``node.py``, ``programs.py``, ``configs.py``): etcd, kube-apiserver,
kube-controller-manager, kube-scheduler, kubelet, kube-proxy, containerd, and a controller of
NetworkPolicies. CoreDNS and the operator are pods (``addons.py``). This machine reaches services,
and pods if policies allow it, by their addresses. A cluster of KUBECONFIG is used instead.
"""
