#!/usr/bin/env python3
"""A pool backend for trying things out: checks signatures and credits each share once."""

import hashlib
import hmac
import json
import pathlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = pathlib.Path("share.secret").read_text().strip().encode()
MAX_SKEW_MS = 300_000
credited = set()


class Pool(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stamp = self.headers.get("X-Timestamp", "")
        message = stamp.encode() + b"." + body
        expected = "sha256=" + hmac.new(SECRET, message, hashlib.sha256).hexdigest()
        fresh = stamp.isdigit() and abs(time.time() * 1000 - int(stamp)) < MAX_SKEW_MS
        if not fresh or not hmac.compare_digest(expected, self.headers.get("X-Signature", "")):
            return self.answer(401, {"error": "the signature does not verify"})
        results = []
        for share in json.loads(body)["shares"]:
            header = bytes.fromhex(share["header"])
            sound = hashlib.sha256(header).hexdigest() == share["share_id"]
            again = share["share_id"] in credited
            if sound:
                credited.add(share["share_id"])
            outcome = "again" if again else "credited" if sound else "refused"
            print(share["worker_id"], share["share_id"], outcome, flush=True)
            error = None if sound else "share_id is not SHA-256 of the header"
            results.append({"share_id": share["share_id"], "accepted": sound, "error": error})
        self.answer(200, {"results": results})

    def answer(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", 9000), Pool).serve_forever()
