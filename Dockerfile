# The image of every pod of a run: Ray head, Ray worker, job submitter, preflight check. Targets:
#
#   docker build -t dcgan-train:0.1.0 .                    TensorFlow without CUDA: trains on CPU
#   docker build -t dcgan-train:0.1.0-gpu --target gpu .   with CUDA (not the driver)
#
# `podman build` and `buildah bud` take the same arguments. Behind a mirror: `--secret
# id=pip.conf,src=...` (index, credentials; may name `cert = /run/secrets/ca.crt`) and `--secret
# id=ca.crt,src=...`; both are mounted while pip runs and are in no layer.
#
# The CPU image: 830 MB to pull (gzip), 2.4 GB unpacked. 1.45 GB is TensorFlow's wheel, with symbols
# for its stack traces (0.2 GB) and kernels for GPUs (0.3 GB): the wheel that the tests run on. Ray
# and pyarrow are 0.36 GB, bytecode 0.17 GB, Debian and Python 0.13 GB. 0.6 GB that nothing loads,
# and pip, are removed. The GPU image adds NVIDIA's wheels, 4.2 GB unpacked.

# Debian 13 with its Python. The digest is that of the index, for every architecture. Update tag and
# digest together: `docker buildx imagetools inspect python:3.13-slim-trixie`.
ARG PYTHON_IMAGE=docker.io/library/python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285


FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip: the base's pip installs into it, and nothing is installed at run time.
RUN ["python3", "-m", "venv", "--without-pip", "/opt/venv"]


FROM builder AS dependencies
COPY requirements.lock ./
# One layer, so that removed files are in no storage. Removed is what nothing loads at run time:
# headers for C++ extensions, libclang (a dependency of TensorFlow that it never imports), tests of
# libraries, Ray's Java. Without -f, so that a path that an update removes fails the build. Then
# bytecode: Python cannot write it on a read-only file system, and would compile in every process.
# Importing TensorFlow, Keras and Ray Train takes 4.5 s of CPU time with it and 12.9 s without (2
# cores of a Xeon at 2.8 GHz), in every worker and after every fault. It has no time stamp, so it
# stays valid after a copy of the files.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    python3 -m pip --python /opt/venv/bin/python install \
      --require-hashes --only-binary :all: --no-compile --requirement requirements.lock \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -r clang tensorflow/include pyarrow/include pyarrow/tests pandas/tests ray/jars \
    && find numpy -type d -name tests -prune -exec rm -r {} + \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .


FROM dependencies AS dependencies-gpu
COPY requirements-gpu.lock ./
# The locks differ only in NVIDIA's wheels. They get a separate layer; the other is the CPU image's.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    python3 -m pip --python /opt/venv/bin/python install \
      --require-hashes --only-binary :all: --no-compile --requirement requirements-gpu.lock \
    && cd /opt/venv/lib/python3*/site-packages \
    && find nvidia -type d -name include -prune -exec rm -r {} + \
    && mkdir -p /cuda"$PWD" \
    && mv nvidia nvidia_*.dist-info /cuda"$PWD"


# The program, below a separate prefix: a change of the code makes one small new layer.
FROM dependencies AS package
COPY pyproject.toml README.md LICENSE ./
COPY job job
RUN python3 -m pip --python /opt/venv/bin/python install \
      --no-deps --no-build-isolation --no-compile --no-index --prefix /package . \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /package/lib


FROM ${PYTHON_IMAGE} AS runtime
# The two links are for KubeRay's login shell (ENABLE_LOGIN_SHELL), which resets PATH.
RUN groupadd --gid 10001 dcgan \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/dcgan \
      --shell /bin/bash dcgan \
    && ln -s /opt/venv/bin/dcgan-train /opt/venv/bin/ray /usr/local/bin/
# The code's folders are read-only; logs appear line by line; a network policy would drop Ray's
# usage report, which would wait for it.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/dcgan \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KERAS_BACKEND=tensorflow \
    RAY_USAGE_STATS_ENABLED=0
WORKDIR /home/dcgan
# As a number: `runAsNonRoot` cannot resolve a name.
USER 10001:10001
# Kubernetes uses its own probes, KubeRay's over HTTP.
HEALTHCHECK NONE
CMD ["dcgan-train", "--help"]


FROM runtime AS gpu
# The parts of the driver that `--gpus` and NVIDIA's device plugin mount. NVIDIA_VISIBLE_DEVICES
# stays unset: in an image it would give every GPU of a node to pods that requested none.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=dependencies-gpu /cuda/ /
COPY --from=package /package /opt/venv
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
ARG LICENSES=Apache-2.0
LABEL org.opencontainers.image.title="dcgan-train" \
      org.opencontainers.image.description="Trains a Keras 3 DCGAN as a Ray Train job, on GPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"


# Last: the default target.
FROM runtime AS cpu
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /package /opt/venv
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
ARG LICENSES=Apache-2.0
LABEL org.opencontainers.image.title="dcgan-train" \
      org.opencontainers.image.description="Trains a Keras 3 DCGAN as a Ray Train job, on CPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"
