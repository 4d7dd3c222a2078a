"""Checks of the chart: `check.py RENDERED NAME …` prints each problem on a line of its own and fails where there is one.

RENDERED is a file with all renderings, written by `check.py RENDERED render`, so that helm runs once for all checks."""

import copy
import json
import sys

import chart
import images
import invariants
import planted
import promql
import schemas
import trial_redis


def lint(_):
    for case in chart.CASES:
        done = chart.helm("lint", "--strict", chart.CHART, "--namespace", chart.NAMESPACE, *chart.options(case), check=False)
        if done.returncode:
            yield f"{case}: {done.stdout}{done.stderr}"
    if not chart.helm("lint", "--strict", chart.CHART, "--set", "coordinator.replica=2", check=False).returncode:
        yield "planted: a misspelt value was let pass"


def hold(renderings):
    """Every invariant on every rendering."""
    for case, documents in renderings.items():
        for invariant in invariants.ALL:
            for problem in invariant(documents):
                yield f"{case}: {invariant.__name__}: {problem}"


def catch(renderings):
    """Every invariant finds what is planted for it."""
    by_name = {invariant.__name__: invariant for invariant in invariants.ALL}
    for at, (name, case, spoil) in enumerate(planted.PLANTED):
        documents = copy.deepcopy(renderings[case])
        spoil(documents)
        if not list(by_name[name](documents)):
            yield f"planted violation {at} of {name} in {case} was let pass"
    for name in by_name.keys() - {name for name, _, _ in planted.PLANTED}:
        yield f"{name} has never been seen to find anything"


def notes(_):
    """What an operator reads after the installation."""
    # What must be said, by case; `!` before what must not.
    told = {
        "defaults": ["NOT a medical device", "demonstration model", "not encrypted", "Nobody signs in", "values/ha.yaml"],
        "trial": ["NOT a medical device", "trial Redis", "!owns the store"],
        "ha-gpu-keda-tls": ["NOT a medical device", "https://prelim-coordinator.imaging.svc:7070", "by keda", "CUDA backend",
                            "!not encrypted", "!Nobody signs in", "!demonstration model"],
        "claims": ["No pool of workers is enabled", "No NetworkPolicy"],
    }
    for case, sentences in told.items():
        text = chart.helm("install", chart.RELEASE, chart.CHART, "--namespace", chart.NAMESPACE, "--dry-run=client",
                          "--hide-secret", *chart.options(case)).stdout
        text = text[text.index("NOTES:"):]
        for sentence in sentences:
            if (sentence.lstrip("!") in text) == sentence.startswith("!"):
                yield f"{case}: {sentence!r} in {text}"


def variables(renderings):
    """Prints what the chart sets, by role, for the test that holds it against the program's own help."""
    roles = {}
    for documents in renderings.values():
        for _, _, spec in chart.pods(documents):
            for container in spec["containers"]:
                names = {variable["name"] for variable in container.get("env", []) if variable["name"].startswith("PRELIM_")}
                if container.get("args") and container["name"] in ("coordinator", "worker", "doctor"):
                    roles.setdefault(container["args"][0], set()).update(names)
    for role, names in sorted(roles.items()):
        print(role, *sorted(names))
    return []


CHECKS = {
    "lint": lint, "hold": hold, "catch": catch, "notes": notes, "variables": variables,
    "kubernetes": schemas.kubernetes, "custom_resources": schemas.custom_resources,
    "values": lambda _: schemas.values(), "refusals": lambda _: schemas.refusals(),
    "promql": promql.check, "images": lambda _: images.check(), "redis": trial_redis.check,
}


def main(path, names):
    if names == ["render"]:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(chart.render_all(), file)
        return False
    with open(path, encoding="utf-8") as file:
        renderings = json.load(file)
    failed = False
    for name in names:
        for problem in CHECKS[name](renderings):
            failed = True
            print(f"{name}: {problem}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
