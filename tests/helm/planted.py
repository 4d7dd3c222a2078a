"""Violations planted into good renderings: a check that lets one pass would be worth nothing.

Each is (the check that must find it, the case it goes into, what is done to the objects)."""

from chart import pod_of

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "imaging"}, "data": {}}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r", "namespace": "imaging"}}


def find(documents, kind, ending=""):
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(ending))


def pod(documents, ending, kind="Deployment"):
    return pod_of(find(documents, kind, ending))


def spec(documents, ending, kind="Deployment"):
    return pod(documents, ending, kind)[1]


def container(documents, ending, kind="Deployment"):
    return spec(documents, ending, kind)["containers"][0]


def variable(documents, ending, name):
    return next(v for v in container(documents, ending)["env"] if v["name"] == name)


def put(target, key, value):
    target[key] = value


def plain(documents, ending, name):
    found = variable(documents, ending, name)
    found.pop("valueFrom")
    found["value"] = "hunter2"


def volume(documents, ending, name):
    return next(v for v in spec(documents, ending)["volumes"] if v["name"] == name)


def without_tmp(documents, ending):
    for holder, key in ((container(documents, ending), "volumeMounts"), (spec(documents, ending), "volumes")):
        holder[key] = [item for item in holder[key] if item["name"] != "tmp"]


def redis_conf(documents, old, new):
    data = find(documents, "ConfigMap", "-redis")["data"]
    assert old in data["redis.conf"]
    data["redis.conf"] = data["redis.conf"].replace(old, new)


def drop(documents, kind, ending=""):
    documents.remove(find(documents, kind, ending))


PLANTED = [
    ("no_secret_in_plain_text", "trial", lambda d: d.append(SECRET)),
    ("no_secret_in_plain_text", "trial", lambda d: plain(d, "-coordinator", "PRELIM_REDIS_PASSWORD")),
    ("no_secret_in_plain_text", "ha", lambda d: plain(d, "-coordinator", "AWS_SECRET_ACCESS_KEY")),
    ("no_secret_in_plain_text", "ha", lambda d: put(variable(d, "-coordinator", "PRELIM_REDIS"), "value", "redis://u:p@h:1")),
    ("images_by_tag_or_digest", "ha", lambda d: put(container(d, "-worker-cpu"), "image", "registry:5000/prelim")),
    ("images_by_tag_or_digest", "ha", lambda d: put(container(d, "-worker-cpu"), "image", "prelim:latest")),
    ("images_by_tag_or_digest", "gpu", lambda d: put(volume(d, "-worker-mig", "model")["image"], "reference", "models/m")),
    ("images_by_tag_or_digest", "init", lambda d: put(spec(d, "-worker-cpu")["initContainers"][0], "image", "fetch")),
    ("selectors_match", "ha", lambda d: put(pod(d, "-worker-cpu")[0]["labels"], "prelim/pool", "gpu")),
    ("selectors_match", "gpu", lambda d: find(d, "Deployment", "-worker-gpu")["spec"]["selector"]["matchLabels"].pop("prelim/pool")),
    ("selectors_match", "ha", lambda d: put(find(d, "Service", "-coordinator")["spec"]["selector"], "app.kubernetes.io/component", "x")),
    ("selectors_match", "ha", lambda d: find(d, "Service", "-coordinator")["spec"]["ports"][0].update(targetPort="http")),
    ("selectors_match", "gpu", lambda d: find(d, "PodDisruptionBudget", "-worker-gpu")["spec"]["selector"]["matchLabels"].pop("prelim/pool")),
    ("selectors_match", "ha", lambda d: put(find(d, "NetworkPolicy", "-worker")["spec"]["podSelector"]["matchLabels"], "app.kubernetes.io/instance", "x")),
    ("selectors_match", "trial", lambda d: [put(e["to"][0]["podSelector"]["matchLabels"], "app.kubernetes.io/component", "cache")
                                            for e in find(d, "NetworkPolicy", "-coordinator")["spec"]["egress"][1:]]),
    ("selectors_match", "ha", lambda d: put(find(d, "ServiceMonitor")["spec"]["selector"]["matchLabels"], "prelim/scrape", "no")),
    ("selectors_match", "ha", lambda d: put(find(d, "ServiceMonitor")["spec"]["endpoints"][0], "port", "http")),
    ("restricted_pod_security", "ha", lambda d: spec(d, "-worker-cpu")["securityContext"].pop("runAsNonRoot")),
    ("restricted_pod_security", "ha", lambda d: spec(d, "-worker-cpu")["securityContext"].pop("seccompProfile")),
    ("restricted_pod_security", "ha", lambda d: container(d, "-worker-cpu")["securityContext"].pop("allowPrivilegeEscalation")),
    ("restricted_pod_security", "ha", lambda d: container(d, "-coordinator")["securityContext"].pop("readOnlyRootFilesystem")),
    ("restricted_pod_security", "trial", lambda d: put(container(d, "-redis", "StatefulSet")["securityContext"], "capabilities", {})),
    ("restricted_pod_security", "ha", lambda d: container(d, "-test", "Pod").pop("securityContext")),
    ("restricted_pod_security", "init", lambda d: spec(d, "-worker-cpu")["initContainers"][0].pop("securityContext")),
    ("restricted_pod_security", "ha", lambda d: spec(d, "-worker-cpu")["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    ("restricted_pod_security", "ha", lambda d: put(spec(d, "-worker-cpu"), "hostNetwork", True)),
    ("no_access_to_the_api", "ha", lambda d: d.append(ROLE)),
    ("no_access_to_the_api", "ha", lambda d: spec(d, "-coordinator").pop("automountServiceAccountToken")),
    ("no_access_to_the_api", "ha", lambda d: find(d, "ServiceAccount").pop("automountServiceAccountToken")),
    ("no_access_to_the_api", "ha", lambda d: spec(d, "-worker-cpu").pop("enableServiceLinks")),
    ("no_access_to_the_api", "ha", lambda d: drop(d, "ServiceAccount", "-worker")),
    ("probes", "ha", lambda d: container(d, "-worker-cpu").pop("startupProbe")),
    ("probes", "ha", lambda d: put(container(d, "-worker-cpu")["livenessProbe"]["httpGet"], "path", "/readyz")),
    ("probes", "ha", lambda d: put(container(d, "-coordinator")["readinessProbe"]["httpGet"], "port", "http")),
    ("grace_is_longer_than_the_drain", "ha", lambda d: put(spec(d, "-worker-cpu"), "terminationGracePeriodSeconds", 300)),
    ("grace_is_longer_than_the_drain", "ha", lambda d: spec(d, "-coordinator").pop("terminationGracePeriodSeconds")),
    ("resources", "ha", lambda d: container(d, "-worker-cpu")["resources"].pop("requests")),
    ("resources", "init", lambda d: spec(d, "-worker-cpu")["initContainers"][0]["resources"].pop("limits")),
    ("workers_hold_no_credentials", "ha", lambda d: container(d, "-worker-cpu")["env"].append({"name": "AWS_ACCESS_KEY_ID", "valueFrom": {}})),
    ("workers_hold_no_credentials", "tls", lambda d: volume(d, "-worker-cpu", "ca")["secret"].pop("items")),
    ("workers_hold_no_credentials", "tls", lambda d: put(volume(d, "-worker-cpu", "client")["secret"], "secretName", "prelim-coordinator-tls")),
    ("mounts_and_references", "tls", lambda d: spec(d, "-worker-cpu")["volumes"].pop()),
    ("mounts_and_references", "tls", lambda d: container(d, "-worker-cpu")["volumeMounts"].pop()),
    ("mounts_and_references", "ha", lambda d: without_tmp(d, "-worker-cpu")),
    ("mounts_and_references", "ha", lambda d: container(d, "-worker-cpu")["env"].append({"name": "PRELIM_LOG", "value": "debug"})),
    ("mounts_and_references", "gpu", lambda d: put(variable(d, "-worker-gpu", "PRELIM_MODEL"), "value", "/models/m")),
    ("mounts_and_references", "tls", lambda d: put(variable(d, "-coordinator", "PRELIM_TLS_KEY"), "value", "/etc/prelim/key")),
    ("mounts_and_references", "trial", lambda d: drop(d, "ConfigMap", "-redis")),
    ("mounts_and_references", "init", lambda d: find(d, "ConfigMap", "-coordinator")["data"].pop("access.toml")),
    ("mounts_and_references", "minimal", lambda d: drop(d, "PersistentVolumeClaim")),
    ("names_and_labels", "ha", lambda d: put(find(d, "Service")["metadata"], "name", "x" * 64)),
    ("names_and_labels", "ha", lambda d: find(d, "Service")["metadata"].pop("namespace")),
    ("names_and_labels", "ha", lambda d: find(d, "Service")["metadata"]["labels"].pop("helm.sh/chart")),
    ("names_and_labels", "ha", lambda d: d.append(find(d, "Service"))),
    ("scaled_workloads", "ha-hpa", lambda d: put(find(d, "Deployment", "-worker-cpu")["spec"], "replicas", 2)),
    ("scaled_workloads", "ha-keda", lambda d: put(find(d, "ScaledObject")["spec"]["scaleTargetRef"], "name", "x")),
    ("scaled_workloads", "ha-keda", lambda d: put(find(d, "ScaledObject")["spec"]["triggers"][0]["metadata"], "scalerAddress", "x:1")),
    ("scaled_workloads", "ha-gpu-keda-tls", lambda d: drop(d, "TriggerAuthentication")),
    ("scaled_workloads", "ha", lambda d: find(d, "Deployment", "-worker-cpu")["spec"].pop("replicas")),
    ("redis_keeps_what_it_acknowledged", "trial", lambda d: redis_conf(d, "appendonly yes", "appendonly no")),
    ("redis_keeps_what_it_acknowledged", "trial", lambda d: redis_conf(d, "appendfsync always", "appendfsync everysec")),
    ("redis_keeps_what_it_acknowledged", "trial", lambda d: redis_conf(d, "noeviction", "allkeys-lru")),
    ("redis_keeps_what_it_acknowledged", "trial", lambda d: redis_conf(d, "maxmemory 512mb", "maxmemory 1gb")),
    ("coordinators_share_or_are_alone", "minimal", lambda d: put(find(d, "Deployment", "-coordinator")["spec"], "replicas", 2)),
    ("coordinators_share_or_are_alone", "minimal", lambda d: put(find(d, "Deployment", "-coordinator")["spec"]["strategy"], "type", "RollingUpdate")),
    ("coordinators_share_or_are_alone", "minimal", lambda d: spec(d, "-coordinator")["volumes"].__setitem__(0, {"name": "data", "emptyDir": {}})),
    ("policies_are_exact", "ha", lambda d: drop(d, "NetworkPolicy", "-worker")),
    ("policies_are_exact", "ha", lambda d: find(d, "NetworkPolicy", "-worker")["spec"]["egress"].pop(0)),
    ("policies_are_exact", "ha", lambda d: find(d, "NetworkPolicy", "-worker")["spec"]["egress"][0].pop("ports")),
    ("policies_are_exact", "ha", lambda d: find(d, "NetworkPolicy", "-coordinator")["spec"]["ingress"].pop(0)),
    ("policies_are_exact", "ha", lambda d: find(d, "NetworkPolicy", "-coordinator")["spec"]["ingress"][0].pop("from")),
    ("changed_settings_restart_pods", "trial", lambda d: pod(d, "-redis", "StatefulSet")[0].pop("annotations")),
    ("changed_settings_restart_pods", "init", lambda d: pod(d, "-coordinator")[0].pop("annotations")),
]
