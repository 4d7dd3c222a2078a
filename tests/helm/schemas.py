"""Objects against the schemas of Kubernetes, of KEDA and of the Prometheus operator; values against the chart's own."""

import copy
import json
import os
import shutil
import subprocess
import tempfile

import jsonschema
import kubernetes_validate
import yaml

from chart import CHART, NAMESPACE, RELEASE, ROOT, helm, label, of_kind, values_path

# The oldest release that the chart says it runs on, and the newest that kubernetes-validate knows.
OLDEST, NEWEST = "1.30", "1.37"
NODE = os.path.join(ROOT, "target", "node")

# Where the types of a custom resource are; the packages are generated from the operators' own Go types.
CUSTOM = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "TriggerAuthentication": "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}


def kubernetes_problem(document, release=NEWEST):
    try:
        kubernetes_validate.validate(copy.deepcopy(document), release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.message} at {list(error.path)}"
    return None


def kubernetes(renderings):
    """Every object of a kind that Kubernetes has, keys that it does not know included."""
    checked = 0
    for case, documents in renderings.items():
        for document in documents:
            if document["kind"] in CUSTOM:
                continue
            checked += 1
            problem = kubernetes_problem(document)
            if problem:
                yield f"{case}: {label(document)}: {problem}"
    for case in ("trial", "init", "site", "ha-gpu-keda-tls", "ha-hpa"):
        for document in renderings[case]:
            problem = None if document["kind"] in CUSTOM else kubernetes_problem(document, OLDEST)
            # Image volumes are the one thing that is newer; the chart refuses them there.
            if problem and "'image' was unexpected" not in problem:
                yield f"{case}: {label(document)}: Kubernetes {OLDEST}: {problem}"
    with open(os.path.join(CHART, "Chart.yaml"), encoding="utf-8") as file:
        if f'kubeVersion: ">={OLDEST}.0-0"' not in file.read():
            yield f"Chart.yaml does not begin with Kubernetes {OLDEST}"
    if checked < 150:
        yield f"only {checked} objects were looked at"
    by_kind = {document["kind"]: document for documents in renderings.values() for document in documents}
    for kind, document in by_kind.items():
        if kind in CUSTOM:
            continue
        for spoil in (misspelt_metadata, misspelt_inside):
            spoiled = spoil(copy.deepcopy(document))
            if spoiled and kubernetes_problem(spoiled) is None:
                yield f"planted: {spoil.__name__} of {kind} was let pass"


def misspelt_metadata(document):
    document["metadata"]["label"] = document["metadata"].pop("labels", {})
    return document


def misspelt_inside(document):
    """The last key of the deepest mapping of `spec`, with a letter too many."""
    place, depth = None, 0

    def walk(value, level):
        nonlocal place, depth
        if isinstance(value, dict):
            # What a user names is free: labels, amounts, node selectors.
            free = level and any(not key.replace("_", "").isalnum() for key in value)
            if value and level > depth and not free and not set(value) & {"cpu", "memory", "storage"}:
                place, depth = value, level
            for inner in value.values():
                walk(inner, level + 1)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, level + 1)

    walk(document.get("spec", {}), 1)
    if place is None:
        return None
    key = list(place)[-1]
    place[key + "x"] = place.pop(key)
    return document


def custom_resources(renderings):
    """Custom resources against the operators' types: keys and types by the TypeScript compiler, which refuses keys that a
    type does not have, and values (patterns, lists of choices) by the packages' validators, which do not mind such keys."""
    good = [(f"{case}: {label(document)}", document) for case, documents in renderings.items()
            for document in of_kind(documents, *CUSTOM)]
    if {document["kind"] for _, document in good} != set(CUSTOM):
        yield f"only {sorted({document['kind'] for _, document in good})} are rendered"
        return
    first = {}
    for _, document in good:
        first.setdefault(document["kind"], document)
    misspelt = [(name, spoil(copy.deepcopy(first[kind]))) for name, kind, spoil in MISSPELT]
    wrong = [(name, spoil(copy.deepcopy(first[kind]))) for name, kind, spoil in WRONG]
    found = set(compile_objects(good + misspelt))
    for at, (name, _) in enumerate(good + misspelt):
        if at < len(good) and at in found:
            yield f"{name}: {found_words(good[at][1])}"
        if at >= len(good) and at not in found:
            yield f"planted: {name} was let pass"
    answers = validate_objects(good + wrong)
    for at, (name, _) in enumerate(good + wrong):
        if at < len(good) and answers[at]:
            yield f"{name}: {answers[at]}"
        if at >= len(good) and not answers[at]:
            yield f"planted: {name} was let pass"


def renamed(*path, to):
    def spoil(document):
        target = document
        for step in path[:-1]:
            target = target[step]
        target[to] = target.pop(path[-1])
        return document
    return spoil


def changed(*path, to):
    def spoil(document):
        target = document
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to
        return document
    return spoil


RULE = ("spec", "groups", 0, "rules", 0)
MISSPELT = [
    ("ScaledObject spec.poolingInterval", "ScaledObject", renamed("spec", "pollingInterval", to="poolingInterval")),
    ("ScaledObject fallback.replica", "ScaledObject", renamed("spec", "fallback", "replicas", to="replica")),
    ("ScaledObject trigger.metricTyp", "ScaledObject", renamed("spec", "triggers", 0, "metricType", to="metricTyp")),
    ("ScaledObject metadata.label", "ScaledObject", renamed("metadata", "labels", to="label")),
    ("ScaledObject behavior.scaleDwn", "ScaledObject",
     renamed("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown", to="scaleDwn")),
    ("TriggerAuthentication secretTargetRef.param", "TriggerAuthentication",
     renamed("spec", "secretTargetRef", 0, "parameter", to="param")),
    ("ServiceMonitor endpoint.scrapeTimout", "ServiceMonitor", renamed("spec", "endpoints", 0, "scrapeTimeout", to="scrapeTimout")),
    ("ServiceMonitor podTargetLabel", "ServiceMonitor", renamed("spec", "podTargetLabels", to="podTargetLabel")),
    ("PrometheusRule rule.expresion", "PrometheusRule", renamed(*RULE, "expr", to="expresion")),
    ("PrometheusRule rule.annotation", "PrometheusRule", renamed(*RULE, "annotations", to="annotation")),
    ("ScaledObject a number as text", "ScaledObject", changed("spec", "pollingInterval", to="15")),
    ("ScaledObject metadata of a number", "ScaledObject", changed("spec", "triggers", 0, "metadata", "targetGpuSeconds", to=60)),
]
WRONG = [
    ("ServiceMonitor interval of five minutes in words", "ServiceMonitor", changed("spec", "endpoints", 0, "interval", to="5 minutes")),
    ("PrometheusRule for of a while", "PrometheusRule", changed(*RULE, "for", to="a while")),
    ("ScaledObject replicas as text", "ScaledObject", changed("spec", "maxReplicaCount", to="many")),
    ("TriggerAuthentication of nothing", "TriggerAuthentication", changed("spec", "secretTargetRef", 0, to={"name": "x"})),
]


def found_words(document):
    return "\n".join(compile_objects([("", document)]).values())


def node_folder():
    for package in ("typescript", "@kubernetes-models/keda", "@kubernetes-models/prometheus-operator"):
        if not os.path.isdir(os.path.join(NODE, "node_modules", package)):
            raise SystemExit(f"{package} is not below {NODE}: run tests/install.sh")
    # Inside target/node, so that imports find node_modules there.
    return tempfile.mkdtemp(prefix="crds-", dir=NODE)


def compile_objects(objects):
    """Position to message, of the objects whose keys or types are wrong."""
    folder = node_folder()
    try:
        lines = [f'import type {{ I{kind} }} from "{path}";' for kind, path in CUSTOM.items()]
        begin = len(lines) + 1
        lines += [f"export const o{at}: I{document['kind']} = {json.dumps(document)};" for at, (_, document) in enumerate(objects)]
        source = os.path.join(folder, "objects.ts")
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        done = subprocess.run(
            [os.path.join(NODE, "node_modules", ".bin", "tsc"), "--noEmit", "--strict", "--skipLibCheck", "--pretty", "false",
             "--module", "nodenext", "--target", "esnext", source],
            capture_output=True, text=True, cwd=folder)
    finally:
        shutil.rmtree(folder)
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("objects.ts("):
            at = int(line.split("(")[1].split(",")[0]) - begin
            if at < 0:
                raise SystemExit(f"the types were not found: {line}")
            found[at] = line
    if done.returncode not in (0, 1, 2) or (done.returncode and not found) or done.stderr:
        raise SystemExit(f"tsc: {done.stdout}{done.stderr}")
    return found


VALIDATE = """
import { readFileSync } from "node:fs";
const kinds = Object.fromEntries(await Promise.all(
  Object.entries(JSON.parse(process.argv[2])).map(async ([kind, path]) => [kind, (await import(path))[kind]])));
const answers = JSON.parse(readFileSync(0, "utf8")).map((document) => {
  try { new kinds[document.kind](document).validate(); return ""; } catch (error) { return String(error.message || error); }
});
process.stdout.write(JSON.stringify(answers));
"""


def validate_objects(objects):
    """What the packages' validators say of each object; empty where they are content."""
    folder = node_folder()
    try:
        script = os.path.join(folder, "validate.mjs")
        with open(script, "w", encoding="utf-8") as file:
            file.write(VALIDATE)
        done = subprocess.run(["node", script, json.dumps(CUSTOM)], input=json.dumps([document for _, document in objects]),
                              capture_output=True, text=True)
    finally:
        shutil.rmtree(folder)
    if done.returncode:
        raise SystemExit(f"node: {done.stderr}")
    return json.loads(done.stdout)


def load_values():
    with open(os.path.join(CHART, "values.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    with open(os.path.join(CHART, "values.yaml"), encoding="utf-8") as file:
        return schema, yaml.safe_load(file)


# Mappings whose keys are the user's: labels, or parts of Kubernetes that its own schema checks after rendering.
FREE = {"commonLabels", "commonAnnotations", "annotations", "labels", "alertLabels", "nodeSelector", "affinity", "podLabels",
        "podAnnotations", "podSecurityContext", "containerSecurityContext", "requests", "limits"}


def values():
    """The chart's own schema: it takes the values that there are, and no key beside them."""
    schema, defaults = load_values()
    validator = jsonschema.Draft7Validator(schema)
    jsonschema.Draft7Validator.check_schema(schema)
    for error in validator.iter_errors(defaults):
        yield f"values.yaml: {error.message} at {list(error.path)}"
    mappings = 0

    def walk(value, path):
        nonlocal mappings
        if not isinstance(value, dict) or (path and path[-1] in FREE):
            return
        mappings += 1
        spoiled = copy.deepcopy(defaults)
        target = spoiled
        for step in path:
            target = target[step]
        # Not a misspelling, but a name that no pool may have.
        target["Misspelt_"] = {}
        if validator.is_valid(spoiled):
            yield f"values.schema.json lets {'.'.join(path) or 'the top'} have any key"
        for key, inner in value.items():
            yield from walk(inner, path + [key])

    yield from walk(defaults, [])
    if mappings < 60:
        yield f"only {mappings} mappings of values.yaml were looked at"
    with open(os.path.join(CHART, "values.yaml"), encoding="utf-8") as file:
        yield from unexplained(file.read())
    if list(unexplained("# -- Why.\na: 1\nb:\n  # -- How many.\n  c: 1\nd:\n  e: 1\n")) != ["values.yaml says nothing of d"]:
        yield "planted: a section without a word was let pass"


def unexplained(text):
    """Sections at the top with no comment above or inside them."""
    comment, above, section = False, False, None
    for line in [*text.splitlines(), "end:"]:
        if line[:1] not in ("", " ", "#"):
            if section and not comment:
                yield f"values.yaml says nothing of {section}"
            section, comment = line.split(":")[0], above
        if line.startswith("#"):
            above = True
        elif line.lstrip().startswith("#"):
            comment = True
        else:
            above = False


# Settings that cannot be, and a part of what helm must answer. The first ones are the schema's, the others the templates'.
REFUSED = [
    (["coordinator.replica=3"], "'replica' not allowed"),
    (["workers.pools.gpu.autoscaling.maxReplica=3"], "'maxReplica' not allowed"),
    (["image.tag=latest"], "'not' failed"),
    (["workers.defaults.model.prompts.names={a b}"], "does not match pattern"),
    (["coordinator.replicas=three"], "got string, want integer"),
    (["image.digest=sha256:12"], "does not match pattern"),
    (["redis.external.url=redis://user:password@redis:6379"], "does not match pattern"),
    (["workers.pools.Big.enabled=true"], "does not match pattern"),
    (["coordinator.extraEnv[0].name=PRELIM_REDIS_PASSWORD", "coordinator.extraEnv[0].value=x"], "'not' failed"),
    (["workers.defaults.model.init.image=tools/fetch"], "/workers/defaults/model/init/image"),
    (["rules.toml=x", "rules.existingConfigMap=y"], "rules.toml and rules.existingConfigMap are both set: choose one"),
    (["coordinator.replicas=2"], "several coordinators share their jobs through Redis"),
    (["coordinator.replicas=2", "redis.external.url=redis://redis:6379"], "several coordinators need one place for bytes"),
    (["coordinator.replicas=2", "bytes.s3.bucket=prelim"], "several coordinators share their jobs through Redis"),
    (["redis.trial.enabled=true"], "redis.trial.existingSecret is empty: make one with `kubectl create secret"),
    (["redis.trial.enabled=true", "redis.trial.existingSecret=x", "redis.external.url=redis://redis:6379"], "choose one"),
    (["bytes.s3.bucket=prelim", "bytes.s3.endpoint=http://minio"], "in the clear"),
    (["tls.enabled=true"], "tls.enabled needs tls.existingSecret"),
    (["tls.client.enabled=true"], "tls.client.enabled needs tls.enabled"),
    (["tls.enabled=true", "tls.existingSecret=x", "tls.client.enabled=true"], "needs tls.client.workerSecret"),
    (["tls.enabled=true", "tls.existingSecret=x", "tls.client.enabled=true", "tls.client.workerSecret=y",
      "workers.pools.cpu.autoscaling.mode=keda"], "needs tls.client.kedaSecret"),
    (["access.oidc.issuer=https://login"], "needs access.oidc.audience"),
    (["workers.pools.cpu.model.source=pvc"], "model.pvc.existingClaim is empty"),
    (["workers.pools.cpu.model.source=init"], "model.init.image is empty"),
    (["workers.pools.cpu.model.source=image"], "model.image.reference is empty"),
    (["workers.pools.cpu.autoscaling.mode=hpa", "workers.pools.cpu.autoscaling.minReplicas=0"], "only keda scales to nothing"),
    (["workers.pools.gpu.enabled=true", "workers.pools.gpu.autoscaling.mode=hpa"], "nothing to scale by"),
    (["workers.pools.cpu.autoscaling.mode=keda", "workers.pools.cpu.autoscaling.minReplicas=9"], "above maxReplicas"),
    (["redis.external.url=redis://redis.example:6380"], "networkPolicy.redis.ports does not let through"),
    (["bytes.s3.bucket=images", "bytes.s3.endpoint=https://minio.storage.svc:9000"], "goes to port 9000"),
    (["tracing.endpoint=http://collector.example:4318/"], "tracing.endpoint goes to port 4318"),
    (["workers.defaults.model.adapters.trauma=adapters/trauma"], "are for a model of yours, in whose volume they are"),
    (["workers.defaults.model.prompts.existingConfigMap=prompts"], "the demonstration model takes its own prompt only"),
    (["workers.defaults.model.prompts.names={short}"], "names needs model.name"),
]


def refusals():
    """Values that cannot be are refused, with a sentence that says what to do."""
    template = ["template", RELEASE, CHART, "--namespace", NAMESPACE]
    for settings, words in REFUSED:
        done = helm(*template, *[option for setting in settings for option in ("--set", setting)], check=False)
        if not done.returncode:
            yield f"{settings} was let pass"
        elif words not in done.stderr:
            yield f"{settings}: {words!r} is not in {done.stderr!r}"
    old = helm(*template, "--kube-version", "1.29.0", check=False)
    if not old.returncode or "1.29.0" not in old.stderr:
        yield f"Kubernetes 1.29 was let pass: {old.stderr!r}"
    early = helm(*template, "--kube-version", "1.32.0", "--values", values_path("gpu"), check=False)
    if not early.returncode or "image volumes need Kubernetes 1.33" not in early.stderr:
        yield f"image volumes on Kubernetes 1.32 were let pass: {early.stderr!r}"
    # Both at once: an operator mends them in one go.
    both = helm(*template, "--set", "coordinator.replicas=2", check=False).stderr
    if both.count("\n  - ") < 2:
        yield f"not every problem is told: {both!r}"
