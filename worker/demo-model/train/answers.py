"""The language between the model and the worker: finding codes, prompts, and the JSON of an answer.

Codes, key order and box numbers must stay as `prelim.json` states them: the worker's grammar accepts nothing else.
"""

import json
from typing import Any

# Order matters: it is the order of the mask channels, of the dense head, and of the findings in an answer.
CLASSES = [
    "pleural_effusion",
    "pneumothorax",
    "consolidation",
    "nodule",
    "mass",
    "cardiomegaly",
    "interstitial_edema",
    "pacemaker",
    "endotracheal_tube",
]
CLASS_INDEX = {code: index for index, code in enumerate(CLASSES)}

# Classes that each modality can show; CT slices show the first five.
CLASSES_OF = {"dx": CLASSES, "ct": CLASSES[:5]}

PROMPTS = {
    "dx": "Report the findings on this chest radiograph.",
    "ct": "Report the findings on this chest CT slice.",
}

ATTRIBUTES = ("side", "zone", "severity")
BOX_STEP = 10
BOX_MAXIMUM = 990

Finding = dict[str, Any]


def box_number(fraction: float) -> int:
    """A fraction of the image as the model writes it: thousandths in steps of ten, so that two digits carry it."""
    return min(BOX_MAXIMUM, max(0, round(fraction * 1000 / BOX_STEP) * BOX_STEP))


def answer(findings: list[Finding]) -> str:
    """The compact JSON that the model learns to say: findings in class order, keys in a fixed order."""
    said = []
    for finding in sorted(findings, key=lambda item: CLASS_INDEX[item["finding"]]):
        entry: Finding = {"finding": finding["finding"]}
        entry.update({key: finding[key] for key in ATTRIBUTES if finding.get(key)})
        entry["box"] = [box_number(edge) for edge in finding["box"]]
        said.append(entry)
    return json.dumps({"findings": said}, separators=(",", ":"))


def parse(text: str) -> list[Finding] | None:
    """The findings of an answer, box edges as fractions again; nothing where it is not such JSON."""
    try:
        found = json.loads(text)["findings"]
        for finding in found:
            finding["box"] = [edge / 1000 for edge in finding["box"]]
            if finding["finding"] not in CLASS_INDEX or len(finding["box"]) != 4:
                return None
        return found
    except (ValueError, KeyError, TypeError):
        return None
