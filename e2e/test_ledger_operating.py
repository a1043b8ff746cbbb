"""The ledger in an operator's hands: what it refuses, what comes back, what is forgotten."""

import json
import shutil
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from hub import BINARY, Hub, HubFailed, wait_until


def entries(hub, *words):
    """What `sekisho ledger search` finds."""
    found = hub.command("ledger", "search", "--json", *words)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def verbs(hub):
    return [entry["verb"] for entry in entries(hub)]


def state(hub):
    """What `GET /api/v1/ledger/state` answers."""
    answer = hub.operator("GET", "/api/v1/ledger/state")
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


def policy(hub):
    """The file by which anybody can check this hub's ledger."""
    printed = hub.command("ledger", "policy")
    assert printed.returncode == 0, printed.stderr
    path = hub.folder / "policy.txt"
    path.write_text(printed.stdout)
    return path


def test_every_answer_to_a_change_says_where_it_stands(own_hub):
    thing = own_hub.boto("iot").create_thing(thingName="pump")
    headers = thing["ResponseMetadata"]["HTTPHeaders"]
    index = int(headers["x-sekisho-ledger-index"])
    [entry] = entries(own_hub, "--device", "pump")
    assert entry["index"] == index
    assert entry["verb"] == "device.create"
    assert entry["request"] == thing["ResponseMetadata"]["RequestId"]
    assert entry["actor"]["name"] == own_hub.environment["AWS_ACCESS_KEY_ID"]
    read = own_hub.boto("iot").describe_thing(thingName="pump")
    assert "x-sekisho-ledger-index" not in read["ResponseMetadata"]["HTTPHeaders"]


def test_a_hub_whose_clock_went_back_does_not_start_unless_it_is_accepted(own_hub, shim):
    own_hub.boto("iot").create_thing(thingName="pump")
    own_hub.stop()
    with shim("clock_offset", CLOCK_OFFSET=-3600):
        with pytest.raises(HubFailed, match="clock"):
            own_hub.start()
        own_hub.process = None
        own_hub.options = ["--accept-clock"]
        own_hub.start()
    # AWS's clients sign the time, and theirs is another; the operator's token has none.
    added = own_hub.operator("POST", "/api/v1/devices", {"id": "valve"})
    assert added.status == 200, added.data
    assert "ledger.clock" in verbs(own_hub)
    assert state(own_hub)["agrees"]
    assert own_hub.command("ledger", "verify").returncode == 0


def test_a_hub_without_its_ledgers_key_does_not_start(own_hub):
    own_hub.stop()
    key = own_hub.data / "ledger/log.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(HubFailed, match="log.key is missing"):
        own_hub.start()
    own_hub.process = None
    key.write_bytes(kept[:20])
    with pytest.raises(HubFailed, match="log.key is damaged"):
        own_hub.start()
    own_hub.process = None
    key.write_bytes(kept)
    own_hub.start()


def test_a_full_disk_refuses_changes_and_loses_nothing(tmp_path, shim):
    full = tmp_path / "disk-is-full"
    hub = Hub(tmp_path / "hub")
    with shim("disk_full", DISK_FULL=full):
        hub.start()
        try:
            hub.boto("iot").create_thing(thingName="before")
            full.touch()
            with pytest.raises(ClientError) as refused:
                hub.boto("iot").create_thing(thingName="during")
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        finally:
            full.unlink(missing_ok=True)
            hub.close()
    hub.start()
    try:
        things = {thing["thingName"] for thing in hub.boto("iot").list_things()["things"]}
        assert things == {"before"}
        assert state(hub)["agrees"]
        hub.boto("iot").create_thing(thingName="after")
        assert hub.command("ledger", "verify").returncode == 0
    finally:
        hub.close()


def test_an_erased_operator_is_nobodys_name_and_the_ledger_still_verifies(own_hub):
    key = own_hub.environment["AWS_ACCESS_KEY_ID"]
    own_hub.boto("iot").create_thing(thingName="pump")
    erased = own_hub.command("ledger", "erase", f"operator/{key}")
    assert erased.returncode == 0, erased.stderr
    [entry] = entries(own_hub, "--device", "pump")
    assert "name" not in entry["actor"]
    again = own_hub.command("ledger", "erase", f"operator/{key}")
    assert again.returncode == 1
    renewed = own_hub.command("ledger", "erase", "device/pump")
    assert renewed.returncode == 0, renewed.stderr
    assert state(own_hub)["agrees"]
    assert own_hub.command("ledger", "verify").returncode == 0
    # Not even in the files, once the hub has stopped.
    own_hub.stop()
    for path in own_hub.data.rglob("*"):
        # The operator's own file, and what happened to connections, are not the ledger's.
        if path.is_file() and path.name != "operator.json":
            assert key.encode() not in path.read_bytes(), path


def test_keys_are_changed_without_a_gap(own_hub):
    old = policy(own_hub).read_text()
    running = own_hub.command("ledger", "key", "add")
    assert running.returncode == 2 and "stop it" in running.stderr
    own_hub.stop()
    added = own_hub.command("ledger", "key", "add")
    assert added.returncode == 0, added.stderr
    own_hub.start()
    both = policy(own_hub)
    exported = own_hub.folder / "export"
    assert own_hub.command("ledger", "export", "--out", exported).returncode == 0
    check = ["ledger", "verify", "--offline", exported, "--policy", both]
    assert own_hub.command(*check).returncode == 0
    own_hub.stop()
    # On the hub's own machine, its keys are at hand.
    assert own_hub.command("ledger", "verify", "--offline", exported).returncode == 0
    listed = own_hub.command("ledger", "key", "list").stdout.splitlines()
    assert len(listed) == 2
    first = listed[0].split()[0]
    assert own_hub.command("ledger", "key", "retire", first).returncode == 0
    last = listed[1].split()[0]
    refused = own_hub.command("ledger", "key", "retire", last)
    assert refused.returncode == 1 and "only key" in refused.stderr
    own_hub.start()
    assert policy(own_hub).read_text() != old
    assert {"ledger.key-add", "ledger.key-retire"} <= set(verbs(own_hub))
    assert own_hub.command("ledger", "verify").returncode == 0


def test_a_restored_hub_goes_on_where_an_export_of_its_ledger_ends(own_hub, tmp_path):
    iot = own_hub.boto("iot")
    iot.create_thing(thingName="kept")
    backup = tmp_path / "backup"
    assert own_hub.command("backup", backup).returncode == 0
    iot.create_thing(thingName="lost")
    iot.delete_thing(thingName="kept")
    exported = tmp_path / "export"
    assert own_hub.command("ledger", "export", "--out", exported).returncode == 0
    size = len(entries(own_hub))
    own_hub.stop()
    checkpoint = (exported / "checkpoint").read_text()
    shutil.rmtree(own_hub.data)
    restored = own_hub.command("restore", backup, "--ledger", exported)
    assert restored.returncode == 0, restored.stderr
    own_hub.start()
    # The state is the backup's, the history is whole and says why.
    things = {thing["thingName"] for thing in own_hub.boto("iot").list_things()["things"]}
    assert things == {"kept"}
    history = verbs(own_hub)
    assert history[: size - 1].count("device.create") == 2
    assert "hub.backup" in history and "hub.restore" in history
    assert state(own_hub)["agrees"], state(own_hub)
    before = tmp_path / "checkpoint"
    before.write_text(checkpoint)
    verified = own_hub.command("ledger", "verify", "--since", before)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_restored_hub_does_not_take_over_another_history(own_hub, tmp_path):
    backup = tmp_path / "backup"
    assert own_hub.command("backup", backup).returncode == 0
    own_hub.stop()
    # Two hubs of one folder: what no witness would cosign.
    other = Hub(tmp_path / "other")
    shutil.copytree(own_hub.data, other.data)
    other.start()
    try:
        other.boto("iot").create_thing(thingName="elsewhere")
        exported = tmp_path / "export"
        assert other.command("ledger", "export", "--out", exported).returncode == 0
    finally:
        other.close()
    own_hub.start()
    own_hub.boto("iot").create_thing(thingName="here")
    newer = tmp_path / "newer"
    assert own_hub.command("backup", newer).returncode == 0
    own_hub.stop()
    shutil.rmtree(own_hub.data)
    refused = own_hub.command("restore", newer, "--ledger", exported)
    assert refused.returncode == 1, refused.stdout
    assert "two histories" in refused.stderr
    assert not own_hub.data.exists(), "nothing half-made is left"
    assert own_hub.command("restore", newer).returncode == 0
    own_hub.start()


def test_a_damaged_tile_is_made_again_and_a_damaged_bundle_is_named(own_hub):
    iot = own_hub.boto("iot")
    for number in range(300):
        iot.create_thing(thingName=f"pump-{number}")
    tile = own_hub.data / "ledger/tile/0/000"
    bundle = own_hub.data / "ledger/tile/entries/000"
    wait_until(lambda: tile.exists() and bundle.exists(), 20, "the first full tile")
    own_hub.stop()
    good = tile.read_bytes()
    tile.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    own_hub.start()
    assert tile.read_bytes() == good, "it was made again from the entries"
    assert own_hub.command("ledger", "verify").returncode == 0
    own_hub.stop()
    good = bundle.read_bytes()
    bundle.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    own_hub.start()
    verified = own_hub.command("ledger", "verify")
    assert verified.returncode != 0
    assert "tile/entries/000" in verified.stdout + verified.stderr
    own_hub.stop()
    bundle.write_bytes(good)
    own_hub.start()
    assert own_hub.command("ledger", "verify").returncode == 0


def test_an_entry_is_signed_within_a_second(own_hub):
    own_hub.boto("iot").create_thing(thingName="pump")
    start = time.monotonic()
    [entry] = entries(own_hub, "--device", "pump")
    proof = own_hub.folder / "proof"
    proved = own_hub.command("ledger", "prove", entry["index"], "--out", proof)
    assert proved.returncode == 0, proved.stderr
    assert time.monotonic() - start < 3
    # Without a hub, from two files.
    check = [BINARY, "ledger", "check", proof, "--policy", policy(own_hub)]
    checked = subprocess.run(check, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    assert "device.create" in checked.stdout
