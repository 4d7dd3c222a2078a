"""Holds what `prelim deidentify` wrote against dicom-anonymizer's table E.1-1 and deeds, pydicom's reading, and dciodvfy.

Reads pairs of paths (before, after) as JSON from stdin, the key's file as the argument; prints what is wrong, one line each, and
counts as the last line.
"""

import collections
import copy
import hashlib
import hmac
import json
import re
import subprocess
import sys
import warnings

import pydicom
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, delete, initialize_actions

warnings.simplefilter("ignore")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE

# Sequences whose structure stays here, with their texts replaced: the peer replaces whatever is in them.
CLEANED = {"ContentSequence", "GraphicAnnotationSequence", "ReferencedImageSequence", "SourceImageSequence"}
# Codes of other schemes are replaced.
PUBLIC = "ACR CD8 DCM FMA I10 I9C ICDO3 LN MDC MSH NCIt NEU RADLEX RFC5646 SCT SNM3 SRT UCUM UMLS".split()
CODES = {"CodeValue", "CodeMeaning", "CodingSchemeDesignator", "CodingSchemeVersion", "LongCodeValue", "URNCodeValue"}
# What is written anew by both.
MARKS = {"PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"}
MARKS.add("LongitudinalTemporalInformationModified")


def mapped(key, uid):
    """The UID that another becomes, by the definition."""
    if not uid or uid.startswith("1.2.840.10008."):
        return uid
    code = bytearray(hmac.new(key, b"prelim 1 uid\0" + uid.encode(), hashlib.sha256).digest()[:16])
    code[6], code[8] = code[6] & 0x0F | 0x80, code[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(code, 'big')}"


def values(dataset, path=()):
    """Every value of a data set that is no sequence, by its path."""
    for tag in dataset.keys():
        try:
            element = dataset[tag]
        except Exception:  # A value that pydicom cannot read.
            continue
        name = element.keyword or str(element.tag)
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from values(item, (*path, name, number))
        else:
            yield (*path, name), element


def text(element):
    value = element.value
    return "" if value is None else str(value) if not isinstance(value, bytes) else value.hex()


def tag_of(name):
    """The tag of an attribute as it stands in paths."""
    tag = pydicom.datadict.tag_for_keyword(name)
    return (tag >> 16, tag & 0xFFFF) if tag else None


def compare(before, after, peer, key, actions):
    """What ours leaves that the table or the peer takes away, what ours takes away that both leave, and UIDs that are not as
    defined. The peer looks at no items of sequences: there the table counts."""
    old, ours, theirs = dict(values(before)), dict(values(after)), dict(values(peer))
    for path, element in old.items():
        was, name = text(element), path[-1]
        if not was.strip("\0 ") or name in MARKS or "REMOVED" in was or element.VR == "UN":
            continue
        kept = path in ours and text(ours[path]) == was
        kept_by_peer = path in theirs and text(theirs[path]) == was
        in_cleaned = bool(CLEANED & set(path))
        above = [actions.get(tag_of(part)) for part in path[:-1] if isinstance(part, str)]
        if path in ours and delete in above:
            yield f"left {'/'.join(map(str, path))}"
        in_table = (element.tag.group, element.tag.element) in actions
        kept_by_peer = kept_by_peer and not in_table and not any(above)
        if element.VR == "UI" and path in ours:
            found = ours[path].value
            found, was_all = ([found], [was]) if isinstance(found, str) else (list(found), list(element.value))
            wrong = [uid for uid in was_all if mapped(key, uid) not in found and uid not in found]
            if wrong or (in_table and kept and not was.startswith("1.2.840.10008.")):
                yield f"uid {'/'.join(map(str, path))}"
            continue
        # A value that is none of its representation goes, too.
        if element.VR in ("IS", "DS") and not re.fullmatch(r"[\d+\-.eE\\ \[\],']*", was):
            continue
        # A dummy may be what was there before.
        dummy = text(element) in ("0", "000Y", "19000101", "000000")
        if kept and not dummy and (in_table or not kept_by_peer and not in_cleaned):
            yield f"left {'/'.join(map(str, path))}"
        scheme = old.get((*path[:-1], "CodingSchemeDesignator"))
        if name in CODES and (scheme is None or scheme.value not in PUBLIC):
            continue
        taken_more = element.tag.is_private or element.tag.group & 0xFF00 in (0x5000, 0x6000) or element.tag.element == 0
        if kept_by_peer and not kept and not in_cleaned and not taken_more and name not in ("PixelData",):
            yield f"lost {'/'.join(map(str, path))} {element.VR}"


def complaints(path):
    """dciodvfy's errors, without the values that it quotes."""
    said = subprocess.run(["dciodvfy", path], capture_output=True, check=False)
    lines = (said.stderr + said.stdout).decode(errors="replace").splitlines()
    clean = (re.sub(r"<[^>]*>|UID [\d.]+|\b\d+(\.\d+){2,}\b|\[\d+\]|\d+ \(dec\)", "", line) for line in lines)
    return collections.Counter(line.strip() for line in clean if line.startswith("Error"))


def main():
    key = open(sys.argv[1], "rb").read().rstrip()
    pairs = json.load(sys.stdin)
    actions = initialize_actions("dicomfields_2026c")
    counts = collections.Counter()
    instances, references = set(), []
    for before_path, after_path in pairs:
        before, after = pydicom.dcmread(before_path, force=True), pydicom.dcmread(after_path)
        counts["files"] += 1
        name = before_path.rsplit("/", 1)[-1]
        peer = copy.deepcopy(before)
        try:
            anonymize_dataset(peer, base_rules_gen=lambda: actions)
        except Exception as error:  # The peer fails on some damaged objects; ours is then held against the table alone.
            counts[f"peer failed: {type(error).__name__}"] += 1
            peer = None
        if peer is not None:
            counts["compared"] += 1
            for wrong in compare(before, after, peer, key, actions):
                print(f"{name}: {wrong}")
        for keyword, action in (("PatientIdentityRemoved", "YES"),):
            if after.get(keyword) != action:
                print(f"{name}: no {keyword}")
        if after.preamble.strip(b"\0") or after.file_meta.MediaStorageSOPInstanceUID != after.SOPInstanceUID:
            print(f"{name}: file header")
        if any(e.tag.group != 2 or e.keyword.endswith("ApplicationEntityTitle") for e in after.file_meta):
            print(f"{name}: file header names somebody")
        instances.add(str(before.SOPInstanceUID))
        pairs_of = zip(values(before), values(before))
        old = [str(e.value) for (p, e), _ in pairs_of if p[-1] == "ReferencedSOPInstanceUID"]
        new = [str(e.value) for p, e in values(after) if p[-1] == "ReferencedSOPInstanceUID"]
        references.append((name, old, new))
        worse = complaints(after_path) - complaints(before_path)
        for line in worse:
            print(f"{name}: dciodvfy: {line}")
    for name, old, new in references:
        for uid in new:
            if not uid.startswith("2.25."):
                print(f"{name}: refers to {uid}")
        for uid in set(old) & instances:
            counts["references within the set"] += 1
            if mapped(key, uid) not in new:
                print(f"{name}: a reference is lost")
    print(json.dumps(counts))


main()
