"""A system that takes HL7 v2 messages over MLLP: hl7apy's server, which parses and validates what it gets.

usage: hl7_server.py PORT FOLDER HOW

HOW is JSON: "codes" are the acknowledgement codes of the first messages, then it is AA; "silent" answers nothing. Each message
is a line of FOLDER/received.jsonl, with what validation said of it. Ends when its standard input does.
"""
import json
import sys
import threading
import time

from hl7apy.core import Message
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message


class Takes(AbstractHandler):
    def __init__(self, message, how, file, lock):
        super().__init__(message)
        self.how, self.file, self.lock = how, file, lock

    def reply(self):
        message = parse_message(self.incoming_message, find_groups=True)
        try:
            valid = message.validate()
        except Exception as error:
            valid = str(error)
        with self.lock:
            code = self.how["codes"].pop(0) if self.how.get("codes") else "AA"
            line = {
                "answer": code, "valid": valid, "control_id": message.MSH.MSH_10.value, "processing": message.MSH.MSH_11.value,
                "receiver": [message.MSH.MSH_5.value, message.MSH.MSH_6.value], "text": self.incoming_message}
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        if self.how.get("silent"):
            time.sleep(3600)
        answer = Message("ACK", version="2.5.1")
        answer.MSH.MSH_9 = "ACK^R01^ACK"
        answer.MSH.MSH_11 = "P"
        answer.MSA.MSA_1 = code
        answer.MSA.MSA_2 = message.MSH.MSH_10.value
        return answer.to_mllp()


def main():
    port, folder, how = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    file = open(f"{folder}/received.jsonl", "a")
    handlers = {"ORU^R01^ORU_R01": (Takes, how, file, threading.Lock())}
    server = MLLPServer("127.0.0.1", port, handlers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
