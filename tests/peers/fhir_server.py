"""A FHIR R4 server that takes transactions, as fhir.resources reads them.

usage: fhir_server.py PORT FOLDER HOW

HOW is JSON: "statuses" are the statuses of the first transactions, then they are taken. Each transaction is a line of
FOLDER/received.jsonl; what it put is in FOLDER/TYPE-ID.json. Ends when its standard input does.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.bundle import Bundle

BASE = "/fhir"


def problem_with(body):
    """What is wrong with a transaction; nothing where it can be carried out."""
    bundle = Bundle.model_validate_json(body)
    if bundle.type != "transaction":
        return f"a Bundle of type {bundle.type}"
    for entry in bundle.entry:
        resource = entry.resource
        get_fhir_model_class(resource.get_resource_type()).model_validate_json(resource.model_dump_json())
        wanted = f"{resource.get_resource_type()}/{resource.id}"
        if (entry.request.method, entry.request.url) != ("PUT", wanted):
            return f"{entry.request.method} {entry.request.url} of {wanted}"
    return None


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        how, folder, lock = self.server.how, self.server.folder, self.server.lock
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            status = how["statuses"].pop(0) if how.get("statuses") else 200
        try:
            problem = problem_with(body)
        except Exception as error:
            problem = str(error)
        is_ours = self.path == BASE and self.headers["Content-Type"] == "application/fhir+json"
        if problem or not is_ours:
            status = 400
        line = {"status": status, "problem": problem, "authorization": self.headers.get("Authorization")}
        with lock, open(f"{folder}/received.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        if status == 200:
            for entry in json.loads(body)["entry"]:
                resource = entry["resource"]
                with open(f"{folder}/{resource['resourceType']}-{resource['id']}.json", "w") as file:
                    json.dump(resource, file)
            answer = {"resourceType": "Bundle", "type": "transaction-response"}
        else:
            answer = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.folder, server.how, server.lock = sys.argv[2], json.loads(sys.argv[3]), threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
