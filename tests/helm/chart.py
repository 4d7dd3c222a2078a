"""The chart as helm renders it, in every combination of values that the checks look at."""

import glob
import os
import subprocess

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHART = os.path.join(ROOT, "helm")
HELM = os.path.join(ROOT, "target", "helm", "helm")
RELEASE, NAMESPACE = "prelim", "imaging"

# Values files that are laid over each other: those that the chart comes with, alone where they can be and together as
# its README says, and those beside this file, which reach what the others leave out.
CASES = {
    "defaults": [],
    "minimal": ["minimal"],
    "trial": ["trial"],
    "ha": ["ha"],
    "gpu": ["gpu"],
    "keda": ["keda"],
    "tls": ["tls"],
    "hpa": ["hpa"],
    "pacs": ["pacs"],
    "ha-pacs-tls": ["ha", "tls", "pacs"],
    "ha-gpu": ["ha", "gpu"],
    "ha-keda": ["ha", "keda"],
    "ha-hpa": ["ha", "hpa"],
    "ha-gpu-keda-tls": ["ha", "gpu", "keda", "tls"],
    "trial-tls": ["trial", "tls"],
    "init": ["+init"],
    "site": ["ha", "+site"],
    "claims": ["+claims"],
}


def values_path(name):
    if name.startswith("+"):
        return os.path.join(HERE, "values", name[1:] + ".yaml")
    return os.path.join(CHART, "values", name + ".yaml")


def helm(*arguments, check=True):
    """Runs helm to its end."""
    if not os.access(HELM, os.X_OK):
        raise SystemExit(f"{HELM} is not there: run tests/install.sh")
    # Without a home of its own helm would read plugins and repositories of whoever runs the tests.
    environment = {**os.environ, "HELM_CACHE_HOME": os.path.join(ROOT, "target", "helm", "cache"),
                   "HELM_CONFIG_HOME": os.path.join(ROOT, "target", "helm", "config"),
                   "HELM_DATA_HOME": os.path.join(ROOT, "target", "helm", "data"), "KUBECONFIG": os.devnull}
    done = subprocess.run([HELM, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise SystemExit(f"helm {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done


def options(case):
    return [option for name in CASES[case] for option in ("--values", values_path(name))]


def render(case, *more):
    """The objects of a case."""
    text = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *options(case), *more).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def render_all():
    unused = set(map(os.path.basename, glob.glob(os.path.join(CHART, "values", "*.yaml"))))
    unused -= {name + ".yaml" for case in CASES.values() for name in case}
    if unused:
        raise SystemExit(f"no case renders {sorted(unused)}: add it to CASES")
    return {case: render(case) for case in CASES}


def label(document):
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def pod_of(document):
    """The pod's metadata and spec of a workload; nothing for other objects."""
    if document["kind"] == "Pod":
        return document["metadata"], document["spec"]
    if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        template = document["spec"]["template"]
        return template["metadata"], template["spec"]
    return None


def pods(documents):
    """(object, pod's metadata, pod's spec) of every workload."""
    for document in documents:
        found = pod_of(document)
        if found:
            yield document, *found


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]
