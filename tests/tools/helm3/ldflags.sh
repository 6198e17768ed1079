# As Helm's own Makefile: without them Helm 3 renders for Kubernetes 1.20. Helm 4 needs none.
minor=$(go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
for package in pkg/chartutil pkg/lint/rules; do
    for value in k8sVersionMajor=1 "k8sVersionMinor=$minor"; do
        printf -- '-X helm.sh/helm/v3/%s.%s ' "$package" "$value"
    done
done
