"""`hold.py HOST PORT TITLE FILE…`: sends the files in one association as TITLE, says so, and releases it when a line comes."""

import sys

from pydicom import dcmread
from pynetdicom import AE, build_context

HOST, PORT, TITLE, FILES = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]

files = [dcmread(name) for name in FILES]
pairs = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in files}
ae = AE(ae_title=TITLE)
ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
association = ae.associate(HOST, PORT, ae_title="PRELIM", contexts=[build_context(*pair) for pair in sorted(pairs)])
print(" ".join(f"{association.send_c_store(ds).Status:04X}" for ds in files), flush=True)
if sys.stdin.readline().strip() == "abort":
    association.abort()
else:
    association.release()
