"""Reads a FHIR Bundle through fhir.resources, which checks types and what must be there, and prints it back as JSON.

R4B is R4 for the resources of a draft; the library has no older one."""

import sys
from pathlib import Path

from fhir.resources.R4B.bundle import Bundle

bundle = Bundle.model_validate_json(Path(sys.argv[1]).read_bytes())
urls = [entry.fullUrl for entry in bundle.entry]
assert len(set(urls)) == len(urls), "a full URL twice"
sys.stdout.write(bundle.model_dump_json())
