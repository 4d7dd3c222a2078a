# The image of workers on NVIDIA GPUs:
#   docker build -f helm/images/cuda.Dockerfile -t registry.hospital.example/imaging/prelim-cuda:0.1.0 .
#
# The program is the same as in the CPU's image: it carries its kernels and finds the driver when it is started with
# `--device cuda` (the chart's `device: cuda`). No GPU has run these kernels yet; README.md says what is proven without.
#
# Base images are named by tag; pin them by digest with --build-arg, as the registry serves them.
ARG RUST_IMAGE=docker.io/library/rust:1.91.1-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin prelim && mkdir /empty

# The driver's library comes from the node, through NVIDIA's container runtime: CUDA 12.0 or newer. Nothing else of CUDA is used,
# and NVIDIA's own base images would refuse drivers that are older than they are, and GeForce cards, by NVIDIA_REQUIRE_CUDA.
FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="prelim-cuda" \
      org.opencontainers.image.description="Drafts radiology reports from DICOM studies. Not a medical device; drafts are unsigned." \
      org.opencontainers.image.licenses="Apache-2.0"
# What NVIDIA's container runtime is to bring: the GPUs that the pod was given, compute, and nvidia-smi to look with; no
# graphics, no video. Some clouds mount the driver in the folder that is named here. What the driver compiles it keeps where the
# pod may write, also where the root is read-only.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    CUDA_CACHE_PATH=/tmp/cuda-cache \
    PRELIM_DATA=/var/lib/prelim
COPY --from=build /src/target/release/prelim /usr/local/bin/prelim
# A volume that is first mounted here takes the folder's owner.
COPY --from=build --chown=65532:65532 /empty /var/lib/prelim
COPY LICENSE /usr/share/doc/prelim/LICENSE
USER 65532:65532
WORKDIR /tmp
EXPOSE 7070 9090
ENTRYPOINT ["/usr/local/bin/prelim"]
