// A registry in memory, to which the chart is pushed as an OCI artefact. Pinned here, built by tests/tools/build.sh.
module dcgan-train/tests/tools/registry

go 1.26.0

tool github.com/google/go-containerregistry/cmd/registry

require github.com/google/go-containerregistry v0.22.1 // indirect
