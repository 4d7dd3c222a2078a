"""Expressions of alerts and dashboards: they parse, and ask only for metrics and labels that there are."""

import json
import os
import re

import promql_parser

from chart import CHART, label, of_kind

# Labels that Prometheus and the operator give to every target. `prelim_pool` comes from the pod (podTargetLabels).
TARGET_LABELS = {"namespace", "job", "pod", "prelim_pool", "le"}
# What Grafana puts in, by something of the same shape.
VARIABLES = {"$__rate_interval": "5m", "$namespace": "imaging", "$pool": "gpu"}


def metrics():
    """Name to labels of every series; a histogram's are three."""
    # Prometheus's own, of every target.
    known = {"up": ("gauge", TARGET_LABELS)}
    with open(os.path.join(CHART, "METRICS.md"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("| `"):
                name, kind, _, labels, _ = (cell.strip().replace("`", "") for cell in line.strip(" |\n").split("|"))
                for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
                    known[name + suffix] = (kind, set(labels.replace(",", " ").split()) | TARGET_LABELS)
    return known


def expressions(documents):
    """(where, expression) of every alert and panel."""
    for rule in of_kind(documents, "PrometheusRule"):
        for group in rule["spec"]["groups"]:
            for alert in group["rules"]:
                yield f"{label(rule)} {alert['alert']}", alert["expr"]
    for config in of_kind(documents, "ConfigMap"):
        for name, text in config["data"].items():
            if not name.endswith(".json"):
                continue
            board = json.loads(text)
            for panel in board["panels"]:
                for target in panel.get("targets", []):
                    yield f"{name} {panel['title']}", target["expr"]
            for variable in board["templating"]["list"]:
                if variable["type"] == "query":
                    yield f"{name} ${variable['name']}", re.fullmatch(r"label_values\((.*), \w+\)", variable["query"])[1]


def selectors(node):
    """Every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        inner = getattr(node, name, None)
        if inner is not None and not isinstance(inner, (str, float, int)):
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or []:
        yield from selectors(inner)


def problem(expression, known):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    try:
        parsed = promql_parser.parse(expression)
    except ValueError as error:
        return str(error)
    found = list(selectors(parsed))
    if not found:
        return "asks for nothing"
    for selector in found:
        if selector.name not in known:
            return f"there is no metric {selector.name}"
        kind, labels = known[selector.name]
        used = {matcher.name for matcher in selector.matchers.matchers}
        if not used <= labels:
            return f"{selector.name} has no label {sorted(used - labels)}"
        if kind == "counter" and not re.search(rf"(rate|increase)\({selector.name}\b", expression):
            return f"the counter {selector.name} is used without rate or increase"
    grouped = {name.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for name in group.split(",")}
    unknown = grouped - set.union(*(known[selector.name][1] for selector in found))
    return f"no series has the label {sorted(unknown)}" if unknown else None


PLANTED = [
    "sum(rate(prelim_jobs_lost_total[5m]))",
    "max(prelim_jobs_ready{queue=\"a\"})",
    "sum by (result (rate(prelim_jobs_finished_total[5m]))",
    "prelim_jobs_finished_total > 3",
    "histogram_quantile(0.9, sum by (le) (rate(prelim_job_read_seconds[5m])))",
    "sum by (state) (rate(prelim_jobs_finished_total[5m]))",
    "max(prelim_jobs_ready) > 0 unless on() (sum(prelim_worker_slotz) > 0)",
    "1 + 1",
]


def check(renderings):
    known = metrics()
    # Every rendering has the same ones, but for names and thresholds.
    checked, asked = 0, ""
    for case in ("ha", "init", "site"):
        for where, expression in expressions(renderings[case]):
            checked, asked = checked + 1, asked + expression
            wrong = problem(expression, known)
            if wrong:
                yield f"{case}: {where}: {wrong}: {expression}"
    if checked < 80:
        yield f"only {checked} expressions were looked at"
    for name, (kind, _) in known.items():
        if kind != "histogram" and name not in asked:
            yield f"nothing shows or watches {name}"
    for expression in PLANTED:
        if problem(expression, known) is None:
            yield f"planted: {expression} was let pass"
    for case in ("ha", "init"):
        for rule in of_kind(renderings[case], "PrometheusRule"):
            for alert in rule["spec"]["groups"][0]["rules"]:
                if alert["labels"].get("severity") not in ("warning", "critical") or set(alert["annotations"]) != {"summary", "description"}:
                    yield f"{case}: {alert['alert']} says too little"
    yield from panels(renderings["ha"])


def panels(documents):
    """Dashboards that Grafana can lay out: ids once, panels that do not overlap, each with a word of what it shows."""
    for config in of_kind(documents, "ConfigMap"):
        for name, text in config["data"].items():
            if not name.endswith(".json"):
                continue
            board = json.loads(text)
            ids = [panel["id"] for panel in board["panels"]]
            if len(set(ids)) != len(ids):
                yield f"{name}: two panels have one id"
            taken = set()
            for panel in board["panels"]:
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                if cells & taken or at["x"] + at["w"] > 24:
                    yield f"{name}: {panel['title']} lies over another"
                taken |= cells
                if panel["type"] != "row" and not panel.get("description"):
                    yield f"{name}: {panel['title']} is not explained"
