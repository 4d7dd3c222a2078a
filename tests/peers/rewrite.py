"""Rewrites the attributes of every DICOM object below a folder, by keyword, in place.

    rewrite.py FOLDER KEYWORD=VALUE ...
"""

import sys
from pathlib import Path

import pydicom

folder, *changes = sys.argv[1:]
for path in sorted(Path(folder).rglob("*.dcm")):
    dataset = pydicom.dcmread(path)
    for change in changes:
        keyword, _, value = change.partition("=")
        setattr(dataset, keyword, value)
    dataset.save_as(path)
