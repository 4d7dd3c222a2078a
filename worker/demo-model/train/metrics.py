"""What answers are worth against the truth: the numbers of issue and model card, image by image."""

from dataclasses import dataclass, field

from answers import CLASSES_OF, Finding, parse

CALIBRATION_BINS = 10


@dataclass
class Reading:
    """One image: what is there, what was said, and how sure each said finding was (see `evaluate.confidences`)."""

    mod: str
    truth: list[Finding]
    text: str
    confidences: list[float] = field(default_factory=list)


@dataclass
class Tally:
    """Counts of one class."""

    hits: int = 0
    missed: int = 0
    invented: int = 0
    sides: list[bool] = field(default_factory=list)
    zones: list[bool] = field(default_factory=list)
    severities: list[bool] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)

    def f1(self) -> float:
        return 2 * self.hits / max(1, 2 * self.hits + self.missed + self.invented)


def box_overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, height) * max(0.0, width)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def first_of_each(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by code; where a code comes twice, the first counts."""
    return {finding["finding"]: finding for finding in reversed(findings)}


def mean(values: list) -> float | None:
    """Rounded for tables; nothing where there is nothing."""
    return round(sum(values) / len(values), 4) if values else None


def calibration_error(pairs: list[tuple[float, bool]]) -> float | None:
    """Expected calibration error over ten equal bins of confidence."""
    if not pairs:
        return None
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(CALIBRATION_BINS)]
    for sure, right in pairs:
        bins[min(int(sure * CALIBRATION_BINS), CALIBRATION_BINS - 1)].append((sure, right))
    gaps = [abs(sum(s for s, _ in b) - sum(r for _, r in b)) for b in bins if b]
    return round(sum(gaps) / len(pairs), 4)


def score(readings: list[Reading]) -> dict:
    """A table by modality: macro-F1, per class, sides, attributes, boxes, normals, parse, calibration."""
    mods = {reading.mod for reading in readings}
    return {mod: _score_modality(mod, [r for r in readings if r.mod == mod]) for mod in CLASSES_OF if mod in mods}


def _score_modality(mod: str, readings: list[Reading]) -> dict:
    tallies = {code: Tally() for code in CLASSES_OF[mod]}
    parsed, exact, silent_normals, normals = 0, 0, 0, 0
    pairs: list[tuple[float, bool]] = []
    for reading in readings:
        said = parse(reading.text)
        parsed += said is not None
        truth, claims = first_of_each(reading.truth), first_of_each(said or [])
        # An answer that cannot be read is never right, not even about a normal image.
        exact += said is not None and set(truth) == set(claims)
        normals += not truth
        silent_normals += said is not None and not truth and not claims
        _compare(tallies, truth, claims)
        pairs += [(sure, f["finding"] in truth) for sure, f in zip(reading.confidences, said or [], strict=False)]
    present = {code: t for code, t in tallies.items() if t.hits + t.missed + t.invented}
    every = list(tallies.values())
    return {
        "images": len(readings),
        "macro_f1": mean([tally.f1() for tally in present.values()]),
        "side_accuracy": mean([v for t in every for v in t.sides]),
        "zone_accuracy": mean([v for t in every for v in t.zones]),
        "severity_accuracy": mean([v for t in every for v in t.severities]),
        "mean_iou": mean([v for t in every for v in t.overlaps]),
        "exact_sets": round(exact / len(readings), 4),
        "normal_specificity": round(silent_normals / normals, 4) if normals else None,
        "normals": normals,
        "parsed": round(parsed / len(readings), 4),
        "ece": calibration_error(pairs),
        "classes": {code: _row(tally) for code, tally in tallies.items()},
    }


def _compare(tallies: dict[str, Tally], truth: dict[str, Finding], claims: dict[str, Finding]) -> None:
    for code, tally in tallies.items():
        there, said = truth.get(code), claims.get(code)
        tally.missed += there is not None and said is None
        tally.invented += there is None and said is not None
        if there is None or said is None:
            continue
        tally.hits += 1
        for key, marks in (("side", tally.sides), ("zone", tally.zones), ("severity", tally.severities)):
            if there.get(key) and there[key] != "bilateral":
                marks.append(there[key] == said.get(key))
        tally.overlaps.append(box_overlap(there["box"], said["box"]))


def _row(tally: Tally) -> dict:
    return {
        "count": tally.hits + tally.missed,
        "precision": round(tally.hits / max(1, tally.hits + tally.invented), 3),
        "recall": round(tally.hits / max(1, tally.hits + tally.missed), 3),
        "f1": round(tally.f1(), 3),
        "side": mean(tally.sides),
        "zone": mean(tally.zones),
        "severity": mean(tally.severities),
        "iou": mean(tally.overlaps),
    }
