"""A real Kubernetes of one node with the real KubeRay operator, as root, without systemd, Docker or a registry.

    python -m tests.e2e.cluster up         about a minute; again, it says that one is up
    eval "$(python -m tests.e2e.cluster env)"
    kubectl get pods -A
    python -m tests.e2e.cluster down       nothing is left but logs

The node is one process in namespaces of its own (``namespaces.py``), in which every program of a cluster runs as on a machine of its
own (``node.py``, ``programs.py``, ``configs.py``): etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy,
containerd, and what keeps NetworkPolicies. CoreDNS and the operator are pods (``addons.py``). This machine reaches services, and pods whose
policies let it, by their addresses. With KUBECONFIG set, that cluster is used and none is made.
"""
