"""Parses and validates an HL7 v2.5.1 message with hl7apy, and prints its segments as JSON: names and fields, unescaped."""

import json
import sys
from pathlib import Path

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

text = Path(sys.argv[1]).read_bytes().decode("utf-8")
message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
message.validate()


def unescaped(value):
    for escape, plain in (("\\F\\", "|"), ("\\S\\", "^"), ("\\T\\", "&"), ("\\R\\", "~")):
        value = value.replace(escape, plain)
    return value.replace("\\E\\", "\\")


def segments(group):
    for child in group.children:
        if child.classname == "Group":
            yield from segments(child)
        else:
            yield child


json.dump(
    [
        {"name": segment.name, "fields": {field.name: unescaped(field.to_er7()) for field in segment.children}}
        for segment in segments(message)
    ],
    sys.stdout,
)
