"""Witnesses and mirrors: they cosign what only grows, remember it, and say when it does not."""

import base64
import hashlib
import http.server
import json
import shutil
import threading
import time

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric import ed25519

from hub import Hub, wait_until
from ledgers import Ledger, Watcher, leaf_hash, root


@pytest.fixture
def run(tmp_path):
    """Starts witnesses and mirrors, and ends them with the test."""
    started = []

    def run(role, name, ledgers, *options):
        watcher = Watcher(role, tmp_path / name, ledgers, ["--name", f"{name}.example", *options])
        started.append(watcher)
        return watcher.start()

    yield run
    for watcher in started:
        watcher.close()


def cosigned(ledger, answer, keys):
    """Asserts that an answer is the cosignatures of these keys over the ledger's checkpoint."""
    assert answer.status == 200, answer.data
    note = ledger.checkpoint() + answer.data.decode()
    for key in keys:
        assert abs(key.cosigned_at(note) - time.time()) < 60
    assert len(answer.data.splitlines()) == len(keys)


def test_three_witnesses_and_a_mirror_cosign_a_growing_ledger(run):
    ledger = Ledger()
    witnesses = [run("witness", f"w{number}", [ledger]) for number in (1, 2)]
    witnesses.append(run("witness", "w3", [ledger], "--post-quantum"))
    mirror = run("mirror", "m1", [ledger], "--post-quantum")
    assert [len(one.keys) for one in witnesses] == [1, 1, 2]
    assert witnesses[0].keys[0].name == "w1.example"
    old = 0
    for size in (1, 2, 255, 256, 700):
        ledger.grow(size)
        for one in witnesses:
            cosigned(ledger, one.add_checkpoint(ledger, old), one.keys)
        answer = mirror.add_checkpoint(ledger, old)
        assert (answer.status, answer.data) == (200, b"")
        cosigned(ledger, mirror.post("add-entries", ledger.upload(old)), mirror.keys)
        old = size

    # What the mirror serves is the whole ledger, under its own cosignature.
    prefix = ledger.origin_hash
    served = mirror.get(f"{prefix}/checkpoint").data.decode()
    assert all(key.cosigned_at(served) for key in mirror.keys)
    entries = []
    for path in ("000", "001", "002.p/188"):
        bundle = mirror.get(f"{prefix}/tile/entries/{path}").data
        entries += entries_of(bundle)
        assert mirror.get(f"{prefix}/tile/0/{path}").data == ledger.tile(f"tile/0/{path}")
    assert entries == ledger.entries
    told = base64.b64decode(served.splitlines()[2])
    assert root([leaf_hash(entry) for entry in entries]) == told
    assert mirror.get(f"{prefix}/tile/1/000.p/2").data == ledger.tile("tile/1/000.p/2")
    assert [one.stop() for one in (*witnesses, mirror)] == [0, 0, 0, 0]


class Tiles(http.server.BaseHTTPRequestHandler):
    """Serves the tiles of `server.ledger`, as a hub does."""

    def do_GET(self):
        tile = self.server.ledger.tile(self.path.removeprefix("/ledger/"))
        self.send_response(200 if tile else 404)
        self.send_header("Content-Length", str(len(tile or b"")))
        self.end_headers()
        self.wfile.write(tile or b"")

    def log_message(self, *_):
        pass


def test_two_histories_are_refused_and_the_mirror_says_where_they_part(run, tmp_path):
    ledger = Ledger().grow(500)
    other = ledger.fork().grow(700, "another")
    ledger.grow(700)
    longer = other.fork().grow(900)
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tiles)
    hub.ledger = other
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    policy = tmp_path / "policy"
    policy.write_text(f"log {ledger.vkey} http://127.0.0.1:{hub.server_port}/ledger\nquorum none\n")
    witness = run("witness", "w1", [ledger])
    mirror = run("mirror", "m1", [], "--policy", policy)
    for one in (witness, mirror):
        assert one.add_checkpoint(ledger, 0).status == 200
    cosigned(ledger, mirror.post("add-entries", ledger.upload(0)), mirror.keys)

    for one in (witness, mirror):
        assert one.found_alarms() == []
        same_size = one.add_checkpoint(other, 700)
        assert same_size.status == 409
        assert b"another root" in same_size.data
        stale = one.add_checkpoint(other, 3)
        assert (stale.status, stale.data) == (409, b"700\n")
        assert stale.headers["Content-Type"] == "text/x.tlog.size"
    [alarm] = mirror.found_alarms()
    assert alarm["first_difference"] == 500
    assert "entry 500 is the first that differs" in alarm["message"]
    assert alarm["refused"] == other.checkpoint()
    assert alarm["known"].split("\n\n")[0] == ledger.checkpoint().split("\n\n")[0]
    [alarm] = witness.found_alarms()
    assert alarm["between"] == [0, 700]

    # A longer tree over the other history; its tiles are there to be asked for by now.
    hub.ledger = longer
    for one in (witness, mirror):
        assert one.add_checkpoint(longer, 700).status == 422
    alarms = mirror.found_alarms()
    assert [one["kind"] for one in alarms].count("no-extension") == 1
    assert all(one["first_difference"] == 500 for one in alarms)

    # A stranger who sends the right checkpoint with a wrong proof is found out.
    hub.ledger = ledger.grow(800)
    wrong = ledger.request(700).replace(b"\n", b"\n" + base64.b64encode(bytes(32)) + b"\n", 1)
    assert mirror.post("add-checkpoint", wrong).status == 422
    findings = [one["finding"] for one in mirror.found_alarms()]
    assert sorted(findings) == ["located", "located", "no-split"]
    assert mirror.add_checkpoint(ledger, 700).status == 200
    assert "the log shows two histories" in mirror.log.read_text()

    # Alarms outlive the process.
    mirror.kill()
    mirror.start()
    assert len(mirror.found_alarms()) == 3
    hub.shutdown()


def test_strangers_are_refused(run):
    ledger = Ledger().grow(3)
    witness = run("witness", "w1", [ledger])
    stranger = Ledger(ledger.origin, ed25519.Ed25519PrivateKey.generate()).grow(3)
    elsewhere = Ledger("other.example", ledger.key).grow(3)
    assert witness.add_checkpoint(stranger, 0).status == 403
    assert witness.add_checkpoint(elsewhere, 0).status == 404
    too_old = ledger.request(0).replace(b"old 0", b"old 4")
    assert witness.post("add-checkpoint", too_old).status == 400
    assert witness.post("add-checkpoint", b"hello").status == 400
    assert witness.post("add-checkpoint", b"x" * 300_000).status == 413
    assert witness.post("add-entries", ledger.upload(0)).status == 404
    assert witness.get("healthz").data == b"ok\n"
    assert witness.get(f"{ledger.origin_hash}/checkpoint").status == 404
    cosigned(ledger, witness.add_checkpoint(ledger, 0), witness.keys)
    assert witness.get(f"{ledger.origin_hash}/checkpoint").status == 200


@pytest.mark.parametrize("role", ["witness", "mirror"])
def test_nothing_that_was_promised_is_forgotten_by_kill_9(run, role):
    ledger = Ledger()
    watcher = run(role, "w1", [ledger])
    seen = 0
    for turn in range(8):
        promised = seen
        stop = threading.Event()

        def send():
            nonlocal promised
            while not stop.is_set():
                old = ledger.size
                ledger.grow(old + 7)
                try:
                    answer = watcher.add_checkpoint(ledger, old)
                    if role == "mirror" and answer.status == 200:
                        answer = watcher.post("add-entries", ledger.upload(old))
                except urllib3.exceptions.HTTPError:
                    return
                assert answer.status == 200, answer.data
                promised = ledger.size

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.03 + 0.011 * turn)
        watcher.process.kill()
        watcher.process.wait()
        stop.set()
        thread.join()
        watcher.start()
        answer = watcher.add_checkpoint(ledger, 0)
        seen = int(answer.data) if answer.status == 409 else 0
        assert promised <= seen <= ledger.size
        # Another history from before what was promised is still refused.
        if seen:
            fork = ledger.fork()
            fork.entries = fork.entries[: seen - 1] + [b"another"]
            assert watcher.add_checkpoint(fork, seen).status == 409
        ledger.entries = ledger.entries[:seen]
        if role == "mirror" and seen:
            cosigned(ledger, watcher.post("add-entries", ledger.upload(0)), watcher.keys)
    assert seen > 0


def test_a_damaged_folder_is_refused_and_never_begun_anew(run, tmp_path):
    ledger = Ledger().grow(300)
    watcher = run("mirror", "m1", [ledger])
    assert watcher.add_checkpoint(ledger, 0).status == 200
    cosigned(ledger, watcher.post("add-entries", ledger.upload(0)), watcher.keys)
    data = watcher.data
    state = data / "logs" / ledger.origin_hash / "state"

    # Two at a time would sign two histories.
    second = Watcher("mirror", tmp_path / "second", [ledger])
    second.data = data
    assert "in use by another process" in second.refused()
    assert watcher.stop() == 0

    keys = data / "keys"
    assert keys.stat().st_mode & 0o777 == 0o600
    for path, word in ((keys, "keys"), (state, "state"), (data / "logs/known", "known")):
        good = path.read_bytes()
        path.unlink()
        said = watcher.refused()
        assert "is missing" in said and str(path) in said and "backup" in said
        for at in (0, len(good) // 2, len(good) - 2):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            said = watcher.refused()
            assert "damaged" in said and word in said, said
        path.write_bytes(good)
    tile = data / "logs" / ledger.origin_hash / "tile/entries/001.p/44"
    good = tile.read_bytes()
    tile.write_bytes(good[:-1] + b"!")
    assert "entries/001.p/44" in watcher.refused()
    tile.write_bytes(good)

    # Another role, another name, keys that were never there.
    for options, word in (
        (["--name", "other.example"], "m1.example"),
        (["--post-quantum"], "without --post-quantum"),
    ):
        wrong = Watcher("mirror", tmp_path / "wrong", [ledger], options)
        wrong.data = data
        assert word in wrong.refused()
    wrong = Watcher("witness", tmp_path / "wrong", [ledger])
    wrong.data = data
    assert "the folder of a mirror" in wrong.refused()
    nobody = Watcher("witness", tmp_path / "nobody", [])
    assert "--log" in nobody.refused()
    assert not nobody.data.exists()
    taken = Watcher("witness", tmp_path / "taken", [ledger])
    taken.port = watcher.start().port
    assert "in use" in taken.refused()
    assert not taken.data.exists()
    assert watcher.add_checkpoint(ledger, 300).status == 200


def test_a_hub_has_its_ledger_witnessed(run, tmp_path):
    """A change is final within 1.5 s: two of three witnesses and the mirror have cosigned it."""
    hub = Hub(tmp_path / "hub", ["--ledger-origin", "hub.example/ledger"]).start()
    try:
        vkey = ledger_of(hub)["policy"].split("log ")[1].split()[0]
        log = LogKey("hub.example/ledger", vkey)
        witnesses = [run("witness", f"w{number}", [log]) for number in (1, 2, 3)]
        mirror = run("mirror", "m1", [log], "--post-quantum")
        assert hub.stop() == 0
        policy = tmp_path / "ledger.policy"
        lines = [line for one in (*witnesses, mirror) for line in one.lines]
        names = [f"w{number}.example" for number in (1, 2, 3)]
        policy.write_text(
            "\n".join([f"log {vkey}", *lines])
            + f"\ngroup witnesses 2 {' '.join(names)}\n"
            + "group all all witnesses m1.example m1.example-pq\nquorum all\n"
        )
        hub.options += ["--ledger-policy", policy]
        for one in (*witnesses, mirror):
            hub.options += ["--ledger-roots", one.data / "tls/root-ca.pem"]
        hub.start()
        wait_until(lambda: is_final(hub, 1), 20, "the first final checkpoint")

        # One witness less is enough, also for a change.
        witnesses[2].kill()
        took = []
        for number in range(5):
            hub.boto("iot").create_thing(thingName=f"pump-{number}")
            began = time.monotonic()
            size = ledger_of(hub)["size"]
            wait_until(lambda: is_final(hub, size), 5, "the change to be final")
            took.append(time.monotonic() - began)
        assert max(took) < 1.5, took

        note = ledger_of(hub)["final_checkpoint"]
        by = [key.name for one in (*witnesses, mirror) for key in one.keys if key.cosigned_at(note)]
        assert by == ["w1.example", "w2.example", "m1.example", "m1.example"]

        # The mirror's copy leads to the root that all of them signed.
        served = mirror.get(f"{log.origin_hash}/checkpoint").data.decode()
        size, told = served.splitlines()[1:3]
        assert int(size) >= int(note.splitlines()[1])
        width = int(size) % 256
        bundles = [f"{index:03}" for index in range(int(size) // 256)]
        bundles += [f"{int(size) // 256:03}.p/{width}"] if width else []
        entries = []
        for path in bundles:
            bundle = mirror.get(f"{log.origin_hash}/tile/entries/{path}").data
            entries += entries_of(bundle)
        assert len(entries) == int(size)
        assert root([leaf_hash(entry) for entry in entries]) == base64.b64decode(told)

        # The third comes back and is caught up; two gone, and nothing is final any more.
        witnesses[2].start()
        for one in witnesses[:2]:
            one.kill()
        hub.boto("iot").create_thing(thingName="pump-waiting")
        size = ledger_of(hub)["size"]
        time.sleep(1.5)
        assert not is_final(hub, size)
        witnesses[0].start()
        wait_until(lambda: is_final(hub, size), 70, "the change to be final after all")
        assert hub.stop() == 0
    finally:
        hub.close()


def test_a_hub_that_was_set_back_is_found_out(run, tmp_path):
    """A hub whose folder is replaced by an older copy goes on with another history."""
    options = ["--ledger-origin", "hub.example/ledger", "--ledger-public"]
    hub = Hub(tmp_path / "hub", options).start()
    try:
        vkey = ledger_of(hub)["policy"].split("log ")[1].split()[0]
        policy = tmp_path / "ledger.policy"
        url = f"{hub.environment['SEKISHO_URL']}/ledger"
        policy.write_text(f"log {vkey} {url}\nquorum none\n")
        options = ("--policy", policy, "--roots", hub.root_ca)
        witness = run("witness", "w1", [], *options)
        mirror = run("mirror", "m1", [], *options)
        assert hub.stop() == 0
        lines = [line for one in (witness, mirror) for line in one.lines]
        names = "w1.example m1.example"
        policy.write_text(
            "\n".join([f"log {vkey} {url}", *lines]) + f"\ngroup all all {names}\nquorum all\n"
        )
        hub.options += ["--ledger-policy", policy]
        for one in (witness, mirror):
            hub.options += ["--ledger-roots", one.data / "tls/root-ca.pem"]
        hub.start()
        hub.boto("iot").create_thing(thingName="pump-before")
        size = ledger_of(hub)["size"]
        wait_until(lambda: is_final(hub, size), 20, "the common history to be final")
        assert hub.stop() == 0
        shutil.copytree(hub.data, tmp_path / "older")
        assert mirror.found_alarms() == []

        hub.start()
        hub.boto("iot").create_thing(thingName="pump-seen")
        size = ledger_of(hub)["size"]
        wait_until(lambda: is_final(hub, size), 20, "the history that is seen to be final")
        assert hub.stop() == 0
        shutil.rmtree(hub.data)
        (tmp_path / "older").rename(hub.data)

        hub.start()
        for number in range(8):
            hub.boto("iot").create_thing(thingName=f"pump-instead-{number}")
        wait_until(lambda: ledger_of(hub)["alarms"], 20, "the hub's alarm")
        assert "ANOTHER HISTORY" in " ".join(ledger_of(hub)["alarms"])
        assert not is_final(hub, ledger_of(hub)["size"])
        for one in (witness, mirror):
            wait_until(lambda: json.loads(one.get("alarms").data), 20, "their alarm")
        index = mirror.found_alarms()[0]["first_difference"]
        prefix = hashlib.sha256(b"hub.example/ledger").hexdigest()
        size = int(mirror.get(f"{prefix}/checkpoint").data.splitlines()[1])
        held = entries_of(mirror.get(f"{prefix}/tile/entries/000.p/{size}").data)
        told = [
            base64.b64decode(ledger_of(hub, f"/entries/{at}")["bytes"]) for at in range(index + 1)
        ]
        assert held[:index] == told[:index]
        assert held[index] != told[index]
        assert witness.found_alarms()[0]["finding"] == "bounded"
    finally:
        hub.close()


class LogKey:
    """A ledger that somebody else keeps."""

    def __init__(self, origin, vkey):
        self.vkey = vkey
        self.origin_hash = hashlib.sha256(origin.encode()).hexdigest()


def is_final(hub, size):
    return ledger_of(hub)["final_size"] >= size


def entries_of(bundle):
    """The entries of a bundle."""
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


def ledger_of(hub, path=""):
    """What the hub tells an operator of its ledger."""
    answer = urllib3.PoolManager(ca_certs=str(hub.root_ca)).request(
        "GET",
        f"{hub.environment['SEKISHO_URL']}/api/v1/ledger{path}",
        headers={"Authorization": f"Bearer {hub.environment['SEKISHO_TOKEN']}"},
    )
    assert answer.status == 200, answer.data
    return json.loads(answer.data)
