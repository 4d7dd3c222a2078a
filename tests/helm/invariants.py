"""What holds of every rendering, whatever the values: each check takes the objects and yields problems in words."""

import re

from chart import containers, label, of_kind, pod_of, pods

# Objects of the chart's own; what a site adds by extraObjects is its own affair.
OURS = "app.kubernetes.io/managed-by"
NAMESPACED = {
    "ServiceAccount", "Deployment", "StatefulSet", "Pod", "Service", "ConfigMap", "PersistentVolumeClaim",
    "PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler", "ScaledObject", "TriggerAuthentication",
    "ServiceMonitor", "PrometheusRule",
}
SECRET_NAME = re.compile(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY|ACCESS_KEY_ID|AUTH)$")
REFERENCE = re.compile(r"^[^\s:@]+(:\d+/[^\s:@]+)?(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?$")


def matches(selector, labels):
    """Whether a label selector, as matchLabels or as a plain map, takes these labels."""
    if "matchLabels" in selector or "matchExpressions" in selector or not selector:
        assert "matchExpressions" not in selector, "not used by this chart"
        selector = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in selector.items())


def strings(value, path=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from strings(inner, f"{path}[{at}]")
    elif isinstance(value, str):
        yield path, value


def no_secret_in_plain_text(documents):
    for document in documents:
        if document["kind"] == "Secret":
            yield f"{label(document)} is rendered: secrets exist before the chart"
        for path, text in strings(document):
            if re.search(r"://[^/\s]*:[^/\s]*@", text) or "PRIVATE KEY" in text:
                yield f"{label(document)}{path} has a credential in it"
    for document, _, spec in pods(documents):
        for container in containers(spec):
            for variable in container.get("env", []):
                if SECRET_NAME.search(variable["name"]) and "value" in variable:
                    yield f"{label(document)}: {variable['name']} is a plain value"


def images_by_tag_or_digest(documents):
    for document, _, spec in pods(documents):
        images = [container["image"] for container in containers(spec)]
        images += [volume["image"]["reference"] for volume in spec.get("volumes", []) if "image" in volume]
        for image in images:
            found = REFERENCE.match(image)
            if not found or not (found["tag"] or found["digest"]) or found["tag"] == "latest":
                yield f"{label(document)}: image {image} is not named by tag or digest"


def selectors_match(documents):
    workloads = [(document, metadata["labels"]) for document, metadata, _ in pods(documents)]
    for document, labels in workloads:
        selector = document["spec"].get("selector")
        if selector is None:
            continue
        if not matches(selector, labels):
            yield f"{label(document)} does not select its own pods"
        for other, other_labels in workloads:
            if other is not document and matches(selector, other_labels):
                yield f"{label(document)} selects the pods of {label(other)}"
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        selected = {"Service": spec.get("selector"), "PodDisruptionBudget": spec.get("selector"),
                    "NetworkPolicy": spec.get("podSelector")}.get(kind)
        if selected is None:
            continue
        found = [(workload, labels) for workload, labels in workloads if matches(selected, labels)]
        # The pod of `helm test` lives in the same release and must not stand behind a Service.
        if not found or (kind == "PodDisruptionBudget" and len(found) != 1):
            yield f"{label(document)} selects {[label(workload) for workload, _ in found]}"
        for port in spec.get("ports", []) if kind == "Service" else []:
            for workload, _ in found:
                names = {p["name"] for c in pod_of(workload)[1]["containers"] for p in c.get("ports", [])}
                if port["targetPort"] not in names:
                    yield f"{label(document)}: {label(workload)} has no port {port['targetPort']}"
    for policy in of_kind(documents, "NetworkPolicy"):
        for peer in policy_peers(policy):
            wanted = peer.get("podSelector", {}).get("matchLabels", {})
            ours = "namespaceSelector" not in peer and "app.kubernetes.io/component" in wanted
            optional = wanted.get("app.kubernetes.io/component") in ("test", "worker")
            if ours and not optional and not any(matches(wanted, labels) for _, labels in workloads):
                yield f"{label(policy)} names pods that there are not: {wanted}"
    for monitor in of_kind(documents, "ServiceMonitor"):
        services = [service for service in of_kind(documents, "Service")
                    if matches(monitor["spec"]["selector"], service["metadata"].get("labels", {}))]
        if not services:
            yield f"{label(monitor)} selects no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            for service in services:
                if endpoint["port"] not in {port["name"] for port in service["spec"]["ports"]}:
                    yield f"{label(monitor)}: {label(service)} has no port {endpoint['port']}"


def policy_peers(policy):
    for rule in policy["spec"].get("ingress") or []:
        yield from rule.get("from", [])
    for rule in policy["spec"].get("egress") or []:
        yield from rule.get("to", [])


def restricted_pod_security(documents):
    volumes = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
               "secret"}
    for document, _, spec in pods(documents):
        pod = spec.get("securityContext", {})
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{label(document)}: {key}"
        for volume in spec.get("volumes", []):
            if set(volume) - {"name"} - volumes:
                yield f"{label(document)}: volume {volume['name']} is of a kind that restricted pods may not have"
        for container in containers(spec):
            own = container.get("securityContext", {})
            where = f"{label(document)}/{container['name']}"
            value = lambda key: own.get(key, pod.get(key))  # noqa: E731
            if value("runAsNonRoot") is not True or value("runAsUser") == 0:
                yield f"{where} may run as root"
            if (value("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
                yield f"{where} has no seccomp profile"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{where} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where} may write to its root"
            capabilities = own.get("capabilities", {})
            if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
                yield f"{where} keeps capabilities"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{where} takes a port of the node"


def no_access_to_the_api(documents):
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    for document in documents:
        if document["kind"] not in NAMESPACED:
            yield f"{label(document)} is no kind that this chart makes (roles, and what is cluster-wide, least of all)"
        if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
            yield f"{label(document)} mounts a token"
    for document, _, spec in pods(documents):
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{label(document)} mounts a token"
        if spec.get("enableServiceLinks") is not False:
            yield f"{label(document)} gets variables of Services"
        name = spec.get("serviceAccountName")
        if name != "default" and accounts and name.startswith("prelim-") and name not in accounts:
            yield f"{label(document)} runs under {name}, which is not there"


def probes(documents):
    for document, _, spec in pods(documents):
        if document["kind"] == "Pod":
            continue
        for container in spec["containers"]:
            where = f"{label(document)}/{container['name']}"
            ports = {port["name"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind)
                if not probe:
                    yield f"{where} has no {kind}"
                    continue
                target = probe.get("httpGet") or probe.get("tcpSocket")
                if target and target["port"] not in ports:
                    yield f"{where}: {kind} asks port {target['port']}, which is not there"
            paths = [container.get(kind, {}).get("httpGet", {}).get("path") for kind in ("livenessProbe", "readinessProbe")]
            if paths[0] and paths != ["/livez", "/readyz"]:
                yield f"{where}: liveness and readiness ask {paths}"


def grace_is_longer_than_the_drain(documents):
    for document, _, spec in pods(documents):
        for container in spec["containers"]:
            drain = environment(container).get("PRELIM_DRAIN_S") or environment(container).get("PRELIM_CLOSE_S")
            if drain is None:
                if container.get("args", [""])[0] in ("coordinator", "worker"):
                    yield f"{label(document)} is told no time to drain"
                continue
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace = spec.get("terminationGracePeriodSeconds", 30)
            if grace < int(drain) + sleep + 10:
                yield f"{label(document)}: a grace of {grace} s for {sleep} s of preStop and {drain} s of drain"


def environment(container):
    return {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}


def resources(documents):
    for document, _, spec in pods(documents):
        for container in containers(spec):
            found = container.get("resources", {})
            for kind, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                if what not in found.get(kind, {}):
                    yield f"{label(document)}/{container['name']} has no {what} in {kind}"


def workers_hold_no_credentials(documents):
    servers = set()
    for document, metadata, spec in pods(documents):
        role = metadata["labels"].get("app.kubernetes.io/component")
        for volume in spec.get("volumes", []) if role == "coordinator" else []:
            if volume["name"] in ("tls", "redis-tls"):
                servers |= {(volume["secret"]["secretName"], item["key"]) for item in volume["secret"]["items"]
                            if not item["path"].startswith("ca.")}
    for document, metadata, spec in pods(documents):
        if metadata["labels"].get("app.kubernetes.io/component") not in ("worker", "test"):
            continue
        for container in spec["containers"]:
            for name in environment(container):
                if re.match(r"AWS_|PRELIM_REDIS|PRELIM_BYTES", name):
                    yield f"{label(document)} has {name}"
        for volume in spec.get("volumes", []):
            for item in volume.get("secret", {}).get("items", [{"key": "*", "path": "*"}] if "secret" in volume else []):
                if item["key"] == "*" or (volume["secret"]["secretName"], item["key"]) in servers:
                    yield f"{label(document)} mounts {item['key']} of {volume['secret']['secretName']}, which is the server's"


def mounts_and_references(documents):
    maps = {document["metadata"]["name"]: document.get("data", {}) for document in of_kind(documents, "ConfigMap")}
    claims = {document["metadata"]["name"] for document in of_kind(documents, "PersistentVolumeClaim")}
    # Names that values files say exist already.
    existing = {"prelim-access", "prelim-tenants", "prelim-prompts", "models", "studies", "hospital-ca"}
    for document, _, spec in pods(documents):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        volumes |= {claim["metadata"]["name"]: {} for claim in document["spec"].get("volumeClaimTemplates", [])}
        used = set()
        for container in containers(spec):
            where = f"{label(document)}/{container['name']}"
            mounts = container.get("volumeMounts", [])
            used |= {mount["name"] for mount in mounts}
            paths = [mount["mountPath"] for mount in mounts]
            if len(set(paths)) != len(paths):
                yield f"{where} mounts two volumes at one place"
            if "/tmp" not in paths:
                yield f"{where} has a root that is read-only and no /tmp"
            names = [variable["name"] for variable in container.get("env", [])]
            for name in {name for name in names if names.count(name) > 1}:
                yield f"{where} sets {name} twice"
            for name, value in environment(container).items():
                under = [path for path in paths if value.startswith(path + "/") or value == path]
                if value.startswith(("/etc/prelim/", "/model", "/var/lib/")) and not under:
                    yield f"{where}: {name} is {value}, where nothing is mounted"
        if used != set(volumes):
            yield f"{label(document)}: volumes {sorted(volumes)} and mounts {sorted(used)}"
        for volume in volumes.values():
            config = volume.get("configMap")
            if config and config["name"] not in existing:
                if config["name"] not in maps:
                    yield f"{label(document)}: ConfigMap {config['name']} is not there"
                elif not all(item["key"] in maps[config["name"]] for item in config.get("items", [])):
                    yield f"{label(document)}: ConfigMap {config['name']} lacks {config['items']}"
            claim = volume.get("persistentVolumeClaim")
            if claim and claim["claimName"] not in claims | existing:
                yield f"{label(document)}: claim {claim['claimName']} is not there"


def names_and_labels(documents):
    seen = set()
    for document in documents:
        metadata = document["metadata"]
        limit = 52 if document["kind"] == "StatefulSet" else 63
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", metadata["name"]) or len(metadata["name"]) > limit:
            yield f"{label(document)} is no name of at most {limit} characters"
        if metadata.get("namespace") != "imaging":
            yield f"{label(document)} is in no namespace"
        if label(document) in seen:
            yield f"{label(document)} is there twice"
        seen.add(label(document))
        labels = metadata.get("labels", {})
        if OURS not in labels and document["kind"] == "ConfigMap" and metadata["name"] == "hospital-ca":
            continue  # An extra object of a site.
        wanted = ["name", "instance", "component", "version", "part-of", "managed-by"]
        missing = [key for key in wanted if f"app.kubernetes.io/{key}" not in labels]
        if missing or "helm.sh/chart" not in labels:
            yield f"{label(document)} lacks labels {missing}"


def scaled_workloads(documents):
    workloads = {document["metadata"]["name"]: document for document in of_kind(documents, "Deployment")}
    scaled = {}
    for scaler in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if target not in workloads:
            yield f"{label(scaler)} scales {target}, which is not there"
            continue
        if target in scaled:
            yield f"{target} is scaled by {scaled[target]} and by {label(scaler)}"
        scaled[target] = label(scaler)
        if "replicas" in workloads[target]["spec"]:
            yield f"{target} has replicas of its own beside {label(scaler)}: each upgrade would set them back"
    authentications = {document["metadata"]["name"] for document in of_kind(documents, "TriggerAuthentication")}
    services = {f"{document['metadata']['name']}.imaging.svc:{port['port']}"
                for document in of_kind(documents, "Service") for port in document["spec"]["ports"]}
    for scaler in of_kind(documents, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            reference = trigger.get("authenticationRef", {}).get("name")
            if reference and reference not in authentications:
                yield f"{label(scaler)}: {reference} is not there"
            if trigger["metadata"]["scalerAddress"] not in services:
                yield f"{label(scaler)} asks {trigger['metadata']['scalerAddress']}, where no Service is"
    for name, workload in workloads.items():
        if name not in scaled and "replicas" not in workload["spec"]:
            yield f"{name} has no number of replicas"


def redis_keeps_what_it_acknowledged(documents):
    for workload in of_kind(documents, "StatefulSet"):
        name = workload["metadata"]["name"]
        text = next((d["data"]["redis.conf"] for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"] == name), "")
        settings = dict(line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
        for key, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")):
            if settings.get(key) != value:
                yield f"{label(workload)}: {key} is {settings.get(key)}, not {value}"
        limit = workload["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        if mebibytes(settings.get("maxmemory", "0")) * 3 > mebibytes(limit) * 2 or "maxmemory" not in settings:
            yield f"{label(workload)}: maxmemory {settings.get('maxmemory')} is too near to the limit of {limit}"


def mebibytes(text):
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]*)", text).groups()
    return int(number) * {"kb": 2**-10, "mb": 1, "gb": 1024, "Mi": 1, "Gi": 1024, "": 2**-20}[unit]


def coordinators_share_or_are_alone(documents):
    for document, metadata, spec in pods(documents):
        if metadata["labels"].get("app.kubernetes.io/component") != "coordinator":
            continue
        variables = environment(spec["containers"][0])
        data = next(volume for volume in spec["volumes"] if volume["name"] == "data")
        shared = "PRELIM_REDIS" in variables and "PRELIM_BYTES" in variables
        if not shared and document["spec"]["replicas"] > 1:
            yield f"{label(document)}: several coordinators share nothing"
        if not shared and "persistentVolumeClaim" not in data:
            yield f"{label(document)}: what must not be lost lies in scratch"
        if "persistentVolumeClaim" in data and document["spec"]["strategy"]["type"] != "Recreate":
            yield f"{label(document)}: two coordinators would open one store during an update"


def policies_are_exact(documents):
    policies = of_kind(documents, "NetworkPolicy")
    for document, metadata, spec in pods(documents) if policies else []:
        own = [policy for policy in policies if matches(policy["spec"]["podSelector"], metadata["labels"])]
        kinds = {kind for policy in own for kind in policy["spec"]["policyTypes"]}
        if kinds != {"Ingress", "Egress"}:
            yield f"{label(document)}: policies are for {sorted(kinds)} only"
        names = [v for c in spec["containers"] for k, v in environment(c).items() if k in ("PRELIM_GRPC", "PRELIM_REDIS")]
        dials = any(".svc" in value for value in names)
        ports = {(port.get("protocol"), port.get("port")) for policy in own for rule in policy["spec"].get("egress") or []
                 for port in rule.get("ports", [])}
        if dials and ("UDP", 53) not in ports:
            yield f"{label(document)} may not ask the DNS"
        for port in [p for c in spec["containers"] for p in c.get("ports", []) if p["name"] in ("grpc", "redis")]:
            open_ports = {port.get("port") for policy in own for rule in policy["spec"].get("ingress") or []
                          for port in rule.get("ports", [])}
            if port["containerPort"] not in open_ports:
                yield f"{label(document)}: nobody may reach port {port['containerPort']}"
    for policy in policies:
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction) or []:
                if not rule.get("ports"):
                    yield f"{label(policy)}: a rule for {direction} on any port"
                if direction == "ingress" and not rule.get("from"):
                    yield f"{label(policy)}: a rule for ingress from anywhere"


def changed_settings_restart_pods(documents):
    maps = {document["metadata"]["name"] for document in of_kind(documents, "ConfigMap") if OURS in document["metadata"].get("labels", {})}
    for document, metadata, spec in pods(documents):
        mounted = [v["configMap"]["name"] for v in spec.get("volumes", []) if "configMap" in v and v["configMap"]["name"] in maps]
        if mounted and not any(key.startswith("checksum/") for key in metadata.get("annotations", {})):
            yield f"{label(document)} would keep the old {mounted}"


ALL = [
    no_secret_in_plain_text, images_by_tag_or_digest, selectors_match, restricted_pod_security, no_access_to_the_api,
    probes, grace_is_longer_than_the_drain, resources, workers_hold_no_credentials, mounts_and_references,
    names_and_labels, scaled_workloads, redis_keeps_what_it_acknowledged, coordinators_share_or_are_alone,
    policies_are_exact, changed_settings_restart_pods,
]
