#!/usr/bin/env python3
"""The notifications service of the example: knows people in memory, and forgets whom it is told to forget.

A real one verifies the signature first: docs/WEBHOOKS.md.
"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

people = {}


def take(event):
    """Returns how many people it forgot, because it was told to."""
    if event.get("type") == "millstream.erasure":
        gone = people.pop(event["key"], None)
        print(f"told to forget, case {event['case']}: {int(gone is not None)} of {len(people) + 1} people", flush=True)
        return int(gone is not None)
    key = event["key"]["id"]
    if event["op"] == "d":
        people.pop(key, None)
    else:
        people.setdefault(key, {}).update(event["row"])
    return 0


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1    # head and body in one packet: two would wait for each other

    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))
        events = events if isinstance(events, list) else [events]
        body = json.dumps({"rows": sum(take(event) for event in events)}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 7080), Hook).serve_forever()
