# The version that /version, the node and `kubectl version` say, and that charts compare with their `kubeVersion`.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
for package in k8s.io/component-base k8s.io/client-go/pkg; do
    printf ' -X %s/version.gitVersion=%s -X %s/version.gitMajor=1 -X %s/version.gitMinor=%s' $package "$version" $package $package "${minor%%.*}"
done
