"""An S3 server for tests that checks credentials: versitygw where PATH has it, else moto with its authentication on."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
BUCKET = "shelf"
KEY_ID, SECRET = "nightshelf-tests", "a secret of the tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client(endpoint: str, key_id: str = KEY_ID, secret: str = SECRET, service: str = "s3"):
    keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys)


class Versitygw:
    """The real server, on a folder of its own; its one account is the tests'."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ns-s3-"))
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.keys = (KEY_ID, SECRET)
        (self.folder / "data").mkdir()
        argv = ["versitygw", "--quiet", "--region", REGION, "--port", f"127.0.0.1:{port}", "posix"]
        env = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
        self.process = subprocess.Popen(
            [shutil.which(argv[0]), *argv[1:], str(self.folder / "data")],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        answers(port)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Moto:
    """The emulator, in this process; signatures and keys are checked once its one user is made."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.server.start()
        self.endpoint = "http://{}:{}".format(*self.server.get_host_and_port())
        iam = client(self.endpoint, service="iam")
        iam.create_user(UserName="tests")
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        iam.put_user_policy(UserName="tests", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="tests")["AccessKey"]
        self.keys = (key["AccessKeyId"], key["SecretAccessKey"])
        self.check("0")

    def check(self, after: str) -> None:
        """Check credentials after so many requests; the count is the whole process's."""
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=after).raise_for_status()

    def close(self) -> None:
        self.check("inf")
        requests.post(f"{self.endpoint}/moto-api/reset").raise_for_status()  # the next one finds no user, no bucket
        self.server.stop()


def answers(port: int, patience_s: float = 20) -> None:
    """Wait for a server to listen.

    Raises:
        RuntimeError: it did not.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on port {port} after {patience_s} s")


@pytest.fixture(scope="module")
def s3_server():
    """A server with one bucket, ``shelf``, and its keys in the environment."""
    server = Versitygw() if shutil.which("versitygw") else Moto()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.keys[0])
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.keys[1])
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client(server.endpoint, *server.keys).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield server
    server.close()
