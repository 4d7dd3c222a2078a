# The image of every role, computing on the CPU:
#   docker build -f helm/images/cpu.Dockerfile -t registry.hospital.example/imaging/prelim:0.1.0 .
# Base images are named by tag. Whoever builds for production pins them by digest as well, as their registry serves them:
#   --build-arg RUST_IMAGE=…@sha256:… --build-arg RUNTIME_IMAGE=…@sha256:…
ARG RUST_IMAGE=docker.io/library/rust:1.91.1-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# --locked: what is built is what Cargo.lock says and the tests ran with. No C++, cmake or protoc is needed.
RUN cargo build --release --locked --bin prelim && mkdir /empty

# glibc, certificates of authorities, and nothing else: no shell, no package manager.
FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="prelim" \
      org.opencontainers.image.description="Drafts radiology reports from DICOM studies. Not a medical device; drafts are unsigned." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/prelim /usr/local/bin/prelim
# A volume that is first mounted here takes the folder's owner.
COPY --from=build --chown=65532:65532 /empty /var/lib/prelim
COPY LICENSE /usr/share/doc/prelim/LICENSE
# By number, so that `runAsNonRoot` can be checked. The root may be read-only: the program writes to PRELIM_DATA and /tmp.
USER 65532:65532
WORKDIR /tmp
ENV PRELIM_DATA=/var/lib/prelim
EXPOSE 7070 9090
ENTRYPOINT ["/usr/local/bin/prelim"]
