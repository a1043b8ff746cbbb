"""State and ledger are one: a hub that dies at any of its fsyncs leaves both saying the same.

The hub is the release binary as it is; a library loaded before it counts fsyncs and kills the
process at one of them. `SEKISHO_CRASH_ROUNDS` sets how many are tried (40 unless told), one half
before the disk has it, one half after.
"""

import json
import os

import pytest
import urllib3

from hub import Hub, HubFailed

ROUNDS = int(os.environ.get("SEKISHO_CRASH_ROUNDS", "40"))
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}],
    }
)
HEADER = "x-sekisho-ledger-index"


class Script:
    """Operations of every kind, one after the other, on names that say in which round."""

    def __init__(self, hub):
        self.hub = hub
        self.pool = urllib3.PoolManager(ca_certs=str(hub.root_ca))
        self.done = []  # (ledger index, object) of every acknowledged change

    def operator(self, method, path, body=None):
        environment = self.hub.environment
        answer = self.pool.request(
            method,
            f"{environment['SEKISHO_URL']}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {environment['SEKISHO_TOKEN']}"},
            retries=False,
            timeout=10,
        )
        assert answer.status == 200, (path, answer.data)
        return answer

    def changed(self, answer, name):
        index = answer.headers.get(HEADER)
        assert index is not None, f"{name} was answered without its place in the ledger"
        self.done.append((int(index), name))

    def aws(self, method, path, body=None, service="iot"):
        answer = self.hub.signed(
            method, path, b"" if body is None else json.dumps(body).encode(), service
        )
        assert answer.status in (200, 204), (path, answer.data)
        return answer

    def run(self, number):
        """Goes on until the hub dies."""
        turn = 0
        while True:
            name = f"d{number}-{turn}"
            device = f"device/{name}"
            self.changed(self.aws("POST", f"/things/{name}", {}), device)
            attributes = {"attributePayload": {"attributes": {"turn": str(turn)}}}
            self.changed(self.aws("PATCH", f"/things/{name}", attributes), device)
            wish = {"state": {"desired": {"turn": turn}}}
            shadow = f"/things/{name}/shadow"
            self.changed(self.aws("POST", shadow, wish, "iotdata"), device)
            policy = {"policyDocument": POLICY}
            self.changed(self.aws("POST", f"/policies/p{name}", policy), f"policy/p{name}")
            issued = self.operator("POST", "/api/v1/devices", {"id": f"v{name}"})
            self.changed(issued, f"device/v{name}")
            disabled = self.operator("POST", f"/api/v1/devices/v{name}/disable")
            self.changed(disabled, f"device/v{name}")
            if turn % 2:
                self.changed(self.aws("DELETE", shadow, None, "iotdata"), device)
                self.changed(self.aws("DELETE", f"/things/{name}"), device)
                removed = self.operator("DELETE", f"/api/v1/devices/v{name}")
                self.changed(removed, f"device/v{name}")
            turn += 1


def start(hub, shim, at, when):
    """Starts the hub so that it dies at its `at`th fsync. Whether it came to serve."""
    try:
        with shim("kill_at_fsync", KILL_AT=at, KILL_WHEN=when):
            hub.start()
        return True
    except HubFailed:
        hub.process = None
        return False


def subjects(entry):
    """What an entry is about, as KIND/NAME."""
    for change in entry["changes"]:
        if "of" in change:
            yield change["of"]
            yield change["id"]
        else:
            yield f"{change['kind']}/{change['id']}"
    for device in entry.get("detail", {}).get("devices", "").split():
        yield f"device/{device}"


def test_a_crash_at_any_fsync_leaves_state_and_ledger_equal(shim, tmp_path):
    hub = Hub(tmp_path / "hub")
    hub.start()
    hub.environment  # noqa: B018 - read while it runs, used when it does not
    hub.stop()
    died_at_start = 0
    for number in range(ROUNDS):
        at, when = number // 2 + 1, ("before", "after")[number % 2]
        script = Script(hub)
        if start(hub, shim, at, when):
            with pytest.raises((urllib3.exceptions.HTTPError, ConnectionError)):
                script.run(number)
            hub.process.wait(20)
            hub.process = None
        else:
            died_at_start += 1
        hub.start()
        try:
            state = json.loads(script.operator("GET", "/api/v1/ledger/state").data)
            assert state["agrees"], (number, state)
            for index, name in script.done:
                answer = script.operator("GET", f"/api/v1/ledger/entries/{index}")
                entry = json.loads(answer.data)
                assert name in set(subjects(entry)), (number, index, name, entry)
            verified = hub.command("ledger", "verify", timeout=120)
            assert verified.returncode == 0, (number, verified.stdout, verified.stderr)
        finally:
            hub.close()
    assert died_at_start < ROUNDS, "the hub never came to serve: nothing was tried"
