"""A DynamoDB for tests: moto's server (an emulator), and before it a proxy that can be slow, throttle, lie or cut."""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.server import ThreadedMotoServer

from schemas.warm import ENDS, KEY_SCHEMA

REGION = "eu-central-1"
THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "slow down",
}


class Dynamo:
    """``asked`` counts operations that came; each fault holds until ``calm``."""

    def __init__(self) -> None:
        self.moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.moto.start()
        self.behind = self.moto.get_host_and_port()
        self.proxy = ThreadingHTTPServer(("127.0.0.1", 0), proxy_of(self))
        self.proxy.daemon_threads = True
        threading.Thread(target=self.proxy.serve_forever, args=(0.05,), daemon=True).start()
        self.calm()
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
        self.client = boto3.client("dynamodb", endpoint_url=self.endpoint, region_name=REGION, **keys)

    def calm(self) -> None:
        self.asked: list[str] = []
        self.delay_s = 0.0
        self.cut = False  # connections end without a word
        self.refuse = 0  # how many batches are throttled as a whole
        self.halve = 0  # of how many batches only the first half is taken
        self.lose = False  # writes are acknowledged, and lost

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.proxy.server_port}"

    def create(self, table: str, ttl: bool = True) -> None:
        types = [{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in KEY_SCHEMA]
        made = {"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": types, "KeySchema": KEY_SCHEMA}
        self.client.create_table(TableName=table, **made)
        if ttl:
            spec = {"Enabled": True, "AttributeName": ENDS}
            self.client.update_time_to_live(TableName=table, TimeToLiveSpecification=spec)

    def rows(self, table: str) -> list[dict]:
        return self.client.scan(TableName=table)["Items"]

    def answer(self, operation: str, body: bytes, headers: dict) -> tuple[int, bytes]:
        """What a request gets, after what it has to go through."""
        self.asked.append(operation)
        time.sleep(self.delay_s)
        if self.refuse and operation == "BatchWriteItem":
            self.refuse -= 1
            return 400, json.dumps(THROTTLED).encode()
        if operation == "BatchWriteItem" and self.lose:
            return 200, b'{"UnprocessedItems": {}}'
        if operation == "BatchWriteItem" and self.halve:
            return self.half(body, headers)
        return self.forward(body, headers)

    def half(self, body: bytes, headers: dict) -> tuple[int, bytes]:
        self.halve -= 1
        request = json.loads(body)
        ((table, rows),) = request["RequestItems"].items()
        taken, rest = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        if taken:
            self.forward(json.dumps(request | {"RequestItems": {table: taken}}).encode(), headers)
        return 200, json.dumps({"UnprocessedItems": {table: rest}}).encode()

    def forward(self, body: bytes, headers: dict) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.behind, timeout=20)
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self.proxy.shutdown()
        self.proxy.server_close()
        self.moto.stop()


def proxy_of(dynamo: Dynamo) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if dynamo.cut:
                self.close_connection = True
                return
            kept = ("x-amz-target", "content-type", "authorization", "x-amz-date")
            headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
            status, answer = dynamo.answer(self.headers["X-Amz-Target"].partition(".")[2], body, headers)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Proxy
