"""A hub of its own for a test: the release binary, a fresh data folder, free ports.

The binary is `SEKISHO_BIN`, or `target/release/sekisho` of this checkout. Nothing here knows how
the hub works: it is started, asked for its addresses and stopped as an operator would.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("SEKISHO_BIN", CHECKOUT / "target/release/sekisho"))

# CI's two cores may be busy; being ready in under a second is asserted where it is the subject.
READY_SECONDS = 30
STOP_SECONDS = 20


class HubFailed(Exception):
    """The hub ended, or did not become ready."""


def free_port():
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, seconds, what):
    """Polls `condition` until it answers something true, and answers that."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


class Hub:
    """One hub: start it, ask it, kill it, start it again on the same folder and ports."""

    def __init__(self, folder, options=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "hub.log"
        self.https_port = free_port()
        self.mqtt_port = free_port()
        self.amqp_port = free_port()
        self.options = list(options)
        self.process = None
        self._environment = None
        self._clients = {}

    @property
    def host(self):
        """The name the hub's certificate holds."""
        return "localhost"

    def start(self):
        """Starts the hub and waits until every listener accepts."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    BINARY, "up",
                    "--data", self.data,
                    "--https-port", str(self.https_port),
                    "--mqtt-port", str(self.mqtt_port),
                    "--amqp-port", str(self.amqp_port),
                    "--ready-file", ready,
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def is_ready():
            if self.process.poll() is not None:
                raise HubFailed(f"exit code {self.process.returncode}\n{self.log_tail()}")
            return ready.exists()

        wait_until(is_ready, READY_SECONDS, "the ready file")
        return self

    def stop(self):
        """SIGTERM, as a service manager sends it. Answers the exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    def kill(self):
        """SIGKILL: no chance to write anything more."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        """Ends the hub if it still runs, whatever it is doing."""
        if self.process is not None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                pass

    def log_tail(self, lines=40):
        """The last lines of what the hub printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def environment(self):
        """What `sekisho env` hands to clients."""
        if self._environment is None:
            printed = self.command("env", "--format", "json")
            assert printed.returncode == 0, printed.stderr
            self._environment = json.loads(printed.stdout)
        return self._environment

    @property
    def root_ca(self):
        """The path of the root certificate."""
        return self.environment["SEKISHO_ROOT_CA"]

    def command(self, *words, timeout=30):
        """Runs `sekisho WORDS… --data DIR` as an operator would; answers the ended process."""
        return subprocess.run(
            [BINARY, *map(str, words), "--data", self.data],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def boto(self, service, **settings):
        """A boto3 client; nothing but endpoint, CA and keys differs from one for AWS."""
        key = (service, tuple(sorted(settings.items())))
        if key not in self._clients:
            environment = self.environment
            values = {
                "region_name": environment["AWS_REGION"],
                "endpoint_url": environment["AWS_ENDPOINT_URL"],
                "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
                "verify": environment["AWS_CA_BUNDLE"],
                "config": Config(retries={"total_max_attempts": 1}, read_timeout=20),
            }
            self._clients[key] = boto3.client(service, **(values | settings))
        return self._clients[key]

    def signed(self, method, path, body=b"", service="iot", headers=None):
        """Sends one HTTPS request signed as AWS clients sign; answers the response."""
        environment = self.environment
        request = AWSRequest(
            method=method,
            url=f"https://{self.host}:{self.https_port}{path}",
            data=body,
            headers={"Content-Type": "application/json"} | (headers or {}),
        )
        credentials = Credentials(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        )
        SigV4Auth(credentials, service, environment["AWS_REGION"]).add_auth(request)
        prepared = request.prepare()
        return urllib3.PoolManager(ca_certs=str(self.root_ca)).request(
            method, prepared.url, body=prepared.body, headers=dict(prepared.headers), retries=False
        )

    def operator(self, method, path, body=None):
        """Asks REST v1 with the operator's token; answers the response."""
        environment = self.environment
        return urllib3.PoolManager(ca_certs=str(self.root_ca)).request(
            method,
            f"{environment['SEKISHO_URL']}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {environment['SEKISHO_TOKEN']}"},
            retries=False,
            timeout=20,
        )

    def resident_kilobytes(self):
        """The hub's resident memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1])
