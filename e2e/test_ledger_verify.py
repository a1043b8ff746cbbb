"""The ledger, checked by whoever holds nothing but an export and the policy.

Two programs that know nothing of ours check it too: Go's checksum database code (`go/verify.go`) and
PyPI's `tlog-scales`. All three accept what the hub exports, and refuse it after any one changed byte,
a removed entry, an exchanged pair, a rewritten checkpoint.
"""

import base64
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tlog_scales import tlog as scales
from tlog_scales.reader import TilesReader
from tlog_scales.signing import PlainEd25519Signer, Vkey
from tlog_scales.tiles import leaf_hash

from hub import BINARY, Hub, free_port
from ledgers import Watcher

HERE = pathlib.Path(__file__).resolve().parent
# Debian's package golang-golang-x-mod-dev puts its sources here.
GO_SOURCES = "/usr/share/gocode"

needs_go = pytest.mark.skipif(
    shutil.which("go") is None
    or not pathlib.Path(GO_SOURCES, "src/golang.org/x/mod/sumdb").is_dir(),
    reason="needs the Debian packages golang-go and golang-golang-x-mod-dev",
)


@dataclasses.dataclass
class Export:
    """A folder and a policy, far from the hub they came from."""

    folder: pathlib.Path
    policy: pathlib.Path

    @property
    def vkey(self):
        """The log's key."""
        lines = self.policy.read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("log "))

    @property
    def files(self):
        """Every file's bytes, by its path."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(paths)}

    @property
    def checkpoint(self):
        return scales.Checkpoint.from_text(self.files["checkpoint"].decode())

    def copy(self, folder, changed=()):
        """The same files in another folder, with those of `changed` instead (`None`: without)."""
        for path, data in (self.files | dict(changed)).items():
            if data is not None:
                place = pathlib.Path(folder, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
        return Export(pathlib.Path(folder), self.policy)


def alone(*words):
    """Runs `sekisho` as on another machine: no data folder, no environment."""
    return subprocess.run(
        [BINARY, *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env={}, cwd="/",
    )


def verify(export, *words):
    """`ledger verify --offline`: exit code and report."""
    ended = alone(
        "ledger", "verify", "--offline", export.folder, "--policy", export.policy, "--json", *words
    )
    assert ended.returncode in (0, 1), ended.stderr
    report = json.loads(ended.stdout)
    assert report["sound"] == (ended.returncode == 0) == (report["fault_count"] == 0)
    return report


def taken(hub, folder):
    """An export of a hub, and its policy, in `folder`."""
    export = Export(folder / "export", folder / "policy.txt")
    exported = hub.command("ledger", "export", "--out", export.folder)
    assert exported.returncode == 0, exported.stderr
    policy = hub.command("ledger", "policy")
    assert policy.returncode == 0, policy.stderr
    export.policy.write_text(policy.stdout)
    return export


def a_day(hub, folder):
    """What operators do to a hub in a day, through boto3 and the command line."""
    iot = hub.boto("iot")
    iot.create_thing(thingName="valve-1", attributePayload={"attributes": {"site": "north"}})
    iot.create_thing_type(thingTypeName="valve")
    iot.update_thing(thingName="valve-1", thingTypeName="valve")
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_thing_principal(thingName="valve-1", principal=made["certificateArn"])
    iot.update_certificate(certificateId=made["certificateId"], newStatus="REVOKED")
    for words in (
        ("device", "add", "pump-1", "--out", folder / "pump-1"),
        ("device", "disable", "pump-1"),
        ("device", "enable", "pump-1"),
    ):
        ended = hub.command(*words)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The export of a hub that was only just begun; the hub is gone."""
    folder = tmp_path_factory.mktemp("tiny")
    hub = Hub(folder / "hub").start()
    try:
        hub.boto("iot").create_thing(thingName="valve-1")
        export = taken(hub, folder)
    finally:
        hub.close()
    return export


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The export of a day; its hub is gone."""
    folder = tmp_path_factory.mktemp("small")
    hub = Hub(folder / "hub").start()
    try:
        a_day(hub, folder)
        export = taken(hub, folder)
    finally:
        hub.close()
    return export


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The export of a ledger with a full tile and partial ones; its hub is gone."""
    folder = tmp_path_factory.mktemp("large")
    hub = Hub(folder / "hub").start()
    try:
        for number in range(300):
            hub.boto("iot").create_thing(thingName=f"thing-{number}")
        export = taken(hub, folder)
    finally:
        hub.close()
    return export


@pytest.fixture(scope="session")
def go(tmp_path_factory):
    """Go's verifier: `go(export)` answers why it refuses, `go(export, changes)` one answer each."""
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify"
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": GO_SOURCES, "GOCACHE": str(folder / "cache"),
    }
    built = subprocess.run(
        ["go", "build", "-o", program, HERE / "go/verify.go"],
        capture_output=True, text=True, env=environment, timeout=300,
    )
    assert built.returncode == 0, built.stderr

    def run(export, changes=None):
        words = [program, export.folder, export.vkey]
        if changes is None:
            ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
            return None if ended.returncode == 0 else ended.stderr
        lines = "".join(f"{path} {at} {mask}\n" for path, at, mask in changes)
        ended = subprocess.run(
            [*words, "-"], input=lines, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stderr
        answers = ended.stdout.splitlines()
        assert len(answers) == len(changes)
        return [None if answer == "accepted" else answer for answer in answers]

    return run


class Memory:
    """Files in memory, as `tlog-scales` asks for them."""

    def __init__(self, files):
        self.files = files

    def get(self, *path):
        return self.files.get("/".join(path))


def scaled(export, files=None):
    """Why `tlog-scales` refuses these files, if it does."""
    try:
        reader = TilesReader(Memory(files or export.files))
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(Vkey.from_string(export.vkey))
        for index in range(checkpoint.size):
            proof = reader.get_inclusion_proof(index, checkpoint.size)
            proof.check(leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not accept
        return repr(error)
    return None


def changed(files, path, at, mask):
    data = bytearray(files[path])
    data[at] ^= mask
    return files | {path: bytes(data)}


def every_byte(files, step=1):
    """Each byte of each file with one bit of it, a different one from byte to byte."""
    return [
        (path, at, 1 << (at // step % 8))
        for path, data in files.items()
        for at in range(0, len(data), step)
    ]


def says_the_same(files, change):
    """Whether a change leaves the signature what it is: the last digit of base64 has bits that
    stand for nothing, and not everybody looks at them. Ours does."""
    path, at, mask = change
    if path != "checkpoint":
        return False

    def signature(data):
        try:
            text, lines = data.decode().rsplit("\n\n", 1)
            lines = [line.split() for line in lines.splitlines()]
            return text, [(name, base64.b64decode(blob)) for _, name, blob in lines]
        except (ValueError, IndexError):
            return None

    before = signature(files[path])
    after = signature(changed(files, path, at, mask)[path])
    return before == after


def check_each(export, changes, folder):
    """Ours finds every change, and names the file that was changed and no other."""
    files = export.files

    def one(numbered):
        number, (path, at, mask) = numbered
        place = folder / str(number)
        other = export.copy(place, {path: changed(files, path, at, mask)[path]})
        report = verify(other)
        shutil.rmtree(place)
        named = {fault["file"] for fault in report["faults"]}
        return None if named == {path} else (path, at, mask, report["faults"])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [answer for answer in pool.map(one, enumerate(changes)) if answer]
    assert not wrong, wrong[:3]


# --- what is right is accepted by everybody ---


def test_a_day_verifies_with_nothing_but_the_export_and_the_policy(small):
    report = verify(small)
    assert report["sound"] and report["faults"] == []
    assert report["entries"] == report["size"] == small.checkpoint.size >= 10
    assert report["files"] == len(small.files)


@needs_go
def test_go_accepts_what_the_hub_exports(small, large, go):
    assert go(small) is None
    assert go(large) is None


def test_tlog_scales_accepts_what_the_hub_exports(small, large):
    assert scaled(small) is None
    assert scaled(large) is None


def test_a_running_hub_verifies_while_it_goes_on(own_hub, tmp_path):
    a_day(own_hub, tmp_path)
    iot = own_hub.boto("iot")
    done = threading.Event()

    def go_on():
        number = 0
        while not done.is_set():
            iot.create_thing(thingName=f"thing-{number}")
            number += 1

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_on)
        try:
            for _ in range(10):
                verified = own_hub.command("ledger", "verify")
                assert verified.returncode == 0, verified.stdout + verified.stderr
                assert verified.stdout.startswith("sound: ")
        finally:
            done.set()
        going.result()


# --- one changed byte ---


def test_every_changed_byte_of_a_small_ledger_is_found_and_its_file_named(tiny, tmp_path):
    check_each(tiny, every_byte(tiny.files), tmp_path)


def test_changed_bytes_of_a_larger_ledger_are_found_and_their_file_named(large, tmp_path):
    files = large.files
    assert {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"} <= files.keys()
    changes = []
    for path, data in files.items():
        step = max(len(data) // 40, 1) | 1
        changes += every_byte({path: data}, step)
    check_each(large, changes, tmp_path)


@needs_go
def test_go_refuses_every_changed_byte(small, large, go):
    for export, step in ((small, 1), (large, 97)):
        files = export.files
        changes = every_byte(files, step)
        for change, refused in zip(changes, go(export, changes), strict=True):
            assert refused or says_the_same(files, change), change


def test_tlog_scales_refuses_every_changed_byte(small):
    files = small.files
    for change in every_byte(files):
        other = changed(files, *change)
        if scaled(small, other) is None:
            # It reads a checkpoint leniently: what it makes of it must then be the same.
            read = scales.Checkpoint.from_text(other["checkpoint"].decode())
            assert change[0] == "checkpoint" and read == small.checkpoint, change


# --- removed, exchanged, rewritten ---


def entries_of(bundle):
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2])
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


def bundle_of(entries):
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def root_of(leaves):
    """RFC 9162, section 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    children = root_of(leaves[:split]) + root_of(leaves[split:])
    return hashlib.sha256(b"\x01" + children).digest()


def another_history(export, entries, signer=None):
    """The files of a log with these entries, under the old signature or another signer's."""
    checkpoint = export.checkpoint
    size, leaves = len(entries), [leaf_hash(entry) for entry in entries]
    files = dict.fromkeys(export.files)
    files |= {
        f"tile/entries/000.p/{size}": bundle_of(entries),
        f"tile/0/000.p/{size}": b"".join(leaves),
    }
    rewritten = dataclasses.replace(checkpoint, size=size, root_hash=root_of(leaves))
    if signer:
        rewritten = scales.Checkpoint.make_signed(
            checkpoint.origin, size, root_of(leaves), [signer]
        )
    return files | {"checkpoint": rewritten.serialize().encode()}


def tampered(export):
    """Every lie by its name, as files that differ from the export's."""
    size = export.checkpoint.size
    bundle, tile = f"tile/entries/000.p/{size}", f"tile/0/000.p/{size}"
    entries = entries_of(export.files[bundle])
    removed = entries[:4] + entries[5:]
    exchanged = [*entries]
    exchanged[4], exchanged[5] = exchanged[5], exchanged[4]
    liar = PlainEd25519Signer(export.checkpoint.origin, bytes(range(32)))
    return {
        "an entry is removed": {bundle: bundle_of(removed)},
        "the last entry is removed": {bundle: bundle_of(entries[:-1])},
        "an entry is removed, and the tree made to fit": another_history(export, removed),
        "the last is removed, and the tree made to fit": another_history(export, entries[:-1]),
        "two entries are exchanged": {bundle: bundle_of(exchanged)},
        "two entries are exchanged, and the tile made to fit": {
            bundle: bundle_of(exchanged),
            tile: b"".join(map(leaf_hash, exchanged)),
        },
        "two entries are exchanged, and the tree made to fit": another_history(export, exchanged),
        "the checkpoint is rewritten by somebody else": another_history(export, removed, liar),
        "the same history is signed by somebody else": another_history(export, entries, liar),
    }


@needs_go
def test_nobody_accepts_a_history_that_was_rewritten(small, go, tmp_path):
    for number, (lie, files) in enumerate(tampered(small).items()):
        other = small.copy(tmp_path / str(number), files)
        report = verify(other)
        assert not report["sound"], lie
        assert go(other), lie
        assert scaled(small, other.files), lie


def test_a_removed_and_a_strange_file_are_named(small, tmp_path):
    for number, path in enumerate(small.files):
        report = verify(small.copy(tmp_path / str(number), {path: None}))
        assert path in {fault["file"] for fault in report["faults"]}
    report = verify(small.copy(tmp_path / "strange", {"tile/0/001.p/3": b"x" * 96}))
    assert [fault["file"] for fault in report["faults"]] == ["tile/0/001.p/3"]


# --- exports ---


def test_an_export_is_brought_up_to_date_in_place(own_hub, tmp_path):
    for number in range(260):
        own_hub.boto("iot").create_thing(thingName=f"a-{number}")
    before = taken(own_hub, tmp_path)
    kept = tmp_path / "checkpoint-from-before"
    shutil.copy(before.folder / "checkpoint", kept)
    full = {path: before.folder / path for path in ("tile/0/000", "tile/entries/000")}
    inodes = {path: place.stat().st_ino for path, place in full.items()}
    partial = [path for path in before.files if ".p/" in path]
    for number in range(20):
        own_hub.boto("iot").create_thing(thingName=f"b-{number}")
    after = taken(own_hub, tmp_path)
    assert inodes == {path: place.stat().st_ino for path, place in full.items()}
    assert {path for path in partial if path in after.files} == {"tile/1/000.p/1"}
    report = verify(after, "--since", kept)
    assert report["sound"], report["faults"]
    own_hub.stop()
    # An older state of the log is no continuation of a newer one.
    newer = tmp_path / "newer"
    shutil.copy(after.folder / "checkpoint", newer)
    older = after.copy(tmp_path / "older", {"checkpoint": kept.read_bytes()})
    report = verify(older, "--since", newer)
    assert "since" in {fault["file"] for fault in report["faults"]}


def test_an_export_of_another_ledger_is_not_written_over(small, own_hub, tmp_path):
    place = small.copy(tmp_path / "export")
    before = place.files
    refused = own_hub.command("ledger", "export", "--out", place.folder)
    assert refused.returncode == 1
    assert "is of another ledger" in refused.stderr
    assert place.files == before


def test_an_export_to_s3_is_the_same_as_one_to_a_folder(own_hub, tmp_path):
    for number in range(260):
        own_hub.boto("iot").create_thing(thingName=f"thing-{number}")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port())
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret"}
        s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="eu-west-1",
            aws_access_key_id="an-id", aws_secret_access_key="a-secret",
        )
        s3.create_bucket(
            Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

        def export():
            return subprocess.run(
                [
                    BINARY, "ledger", "export", "--data", own_hub.data,
                    "--out", "s3://archive/hub-1", "--s3-endpoint", endpoint,
                ],
                capture_output=True, text=True, timeout=60,
                env=keys | {"AWS_REGION": "eu-west-1"},
            )

        def listed():
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="archive")
            return {item["Key"]: item for page in pages for item in page.get("Contents", [])}

        for number in range(2):
            ended = export()
            assert ended.returncode == 0, ended.stderr
            if number == 0:
                first = listed()
                own_hub.boto("iot").create_thing(thingName="one-more")
        last = listed()
        full = "hub-1/tile/0/000"
        assert first[full]["LastModified"] == last[full]["LastModified"]
        # What is there was fetched and verifies; the partial tiles of the first are gone.
        folder = tmp_path / "fetched"
        for key in last:
            place = folder / key.removeprefix("hub-1/")
            place.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file("archive", key, str(place))
        policy = tmp_path / "policy.txt"
        policy.write_text(own_hub.command("ledger", "policy").stdout)
        report = verify(Export(folder, policy))
        assert report["sound"], report["faults"]
        assert report["size"] > 260
    finally:
        server.stop()


# --- witnesses ---


def test_cosignatures_are_checked_byte_for_byte_and_count_for_the_quorum(tmp_path):
    hub = Hub(tmp_path / "hub", ["--ledger-origin", "hub.example/ledger"]).start()
    witnesses = []
    try:
        log = Named(hub.command("ledger", "policy").stdout.split()[1])
        for name, options in (("w1", ()), ("w2", ("--post-quantum",))):
            options = ["--name", f"{name}.example", *options]
            witnesses.append(Watcher("witness", tmp_path / name, [log], options).start())
        assert hub.stop() == 0
        lines = [line for witness in witnesses for line in witness.lines]
        names = [line.split()[1] for line in lines]
        policy = tmp_path / "ledger.policy"
        policy.write_text(
            "\n".join([f"log {log.vkey}", *lines])
            + f"\ngroup all all {' '.join(names)}\nquorum all\n"
        )
        hub.options += ["--ledger-policy", policy]
        for witness in witnesses:
            hub.options += ["--ledger-roots", witness.data / "tls/root-ca.pem"]
        hub.start()
        hub.boto("iot").create_thing(thingName="pump-1")
        export = taken(hub, tmp_path)
    finally:
        hub.close()
        for witness in witnesses:
            witness.close()
    assert export.policy.read_text() == policy.read_text()
    report = verify(export)
    assert report["sound"], report["faults"]
    assert sorted(report["witnesses"]) == sorted(names) and len(names) == 3
    # Others read the cosignatures too, the post-quantum one among them.
    assert scales_accepts_every_key(export)
    note = export.files["checkpoint"]
    step = max(len(note) // 150, 1) | 1
    check_each(export, every_byte({"checkpoint": note}, step), tmp_path / "changed")
    text, signatures = note.decode().rsplit("\n\n", 1)
    signed = signatures.splitlines(keepends=True)
    assert len(signed) == 4
    for number in range(1, 4):
        fewer = text + "\n\n" + "".join(signed[:number] + signed[number + 1 :])
        report = verify(export.copy(tmp_path / f"fewer-{number}", {"checkpoint": fewer.encode()}))
        assert [fault["file"] for fault in report["faults"]] == ["checkpoint"]
        assert "quorum" in report["faults"][0]["message"]


@dataclasses.dataclass
class Named:
    """A log, as far as a witness must know it."""

    vkey: str


def scales_accepts_every_key(export):
    """Whether `tlog-scales` takes the signature of each key in the policy, and there are three
    algorithms among them."""
    words = export.policy.read_text().split()
    keys = [Vkey.from_string(word) for word in words if word.count("+") >= 2]
    for key in keys:
        export.checkpoint.verify(key)
    return {key.sig_type for key in keys} == {1, 4, 6}


# --- one entry ---


def test_a_proof_convinces_without_the_hub_and_no_changed_byte_does(own_hub, tmp_path):
    a_day(own_hub, tmp_path)
    policy = tmp_path / "policy.txt"
    policy.write_text(own_hub.command("ledger", "policy").stdout)
    found = own_hub.command("ledger", "search", "--verb", "device.disable", "--json")
    entry = json.loads(found.stdout)
    proof = tmp_path / "it.tlog-proof"
    proved = own_hub.command("ledger", "prove", entry["index"], "--out", proof)
    assert proved.returncode == 0, proved.stderr
    own_hub.stop()
    checked = alone("ledger", "check", proof, "--policy", policy, "--json")
    assert checked.returncode == 0, checked.stderr
    shown = json.loads(checked.stdout)["entry"]
    assert shown["index"] == entry["index"] and shown["verb"] == "device.disable"
    assert shown["bytes"] == entry["bytes"]
    # The hub knows who is behind the pseudonym, the proof does not tell.
    assert entry["actor"]["name"] and "name" not in shown["actor"]
    data = proof.read_bytes()
    for at in range(0, len(data), 5):
        other = tmp_path / "changed.tlog-proof"
        other.write_bytes(changed({"p": data}, "p", at, 1 << at % 8)["p"])
        checked = alone("ledger", "check", other, "--policy", policy)
        assert checked.returncode in (1, 2), (at, checked.stdout)
        assert checked.stderr.startswith("sekisho: ")


def test_a_devices_history_comes_with_its_proofs(own_hub, tmp_path):
    a_day(own_hub, tmp_path)
    proofs = tmp_path / "proofs"
    history = own_hub.command("ledger", "history", "pump-1", "--proofs", proofs, "--json")
    assert history.returncode == 0, history.stderr
    entries = [json.loads(line) for line in history.stdout.splitlines()]
    verbs = [entry["verb"] for entry in entries]
    assert verbs[0] == "device.create" and {"device.disable", "device.enable"} <= set(verbs)
    policy = tmp_path / "policy.txt"
    policy.write_text(own_hub.command("ledger", "policy").stdout)
    assert len(list(proofs.iterdir())) == len(entries)
    for entry in entries:
        proof = proofs / f"{entry['index']}.tlog-proof"
        checked = alone("ledger", "check", proof, "--policy", policy, "--json")
        assert checked.returncode == 0, checked.stderr
        assert json.loads(checked.stdout)["entry"]["bytes"] == entry["bytes"]


def test_entries_are_found_by_actor_device_verb_and_time(own_hub, tmp_path):
    a_day(own_hub, tmp_path)

    def search(*words):
        found = own_hub.command("ledger", "search", "--json", *words)
        assert found.returncode == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    everything = search()
    assert [entry["index"] for entry in everything] == list(range(len(everything)))
    assert {entry["actor"]["kind"] for entry in search("--actor", "hub")} == {"hub"}
    valve = search("--device", "valve-1")
    assert [entry["verb"] for entry in valve][0] == "device.create"
    for verb in {entry["verb"] for entry in everything}:
        assert search("--verb", verb) == [e for e in everything if e["verb"] == verb]
    assert search("--since", "1h") == everything
    assert search("--until", "1h") == []
    assert search("--since", "2100-01-01T00:00:00Z") == []
    tail = own_hub.command("ledger", "tail", "--count", 2, "--json")
    assert [json.loads(line)["index"] for line in tail.stdout.splitlines()] == [
        len(everything) - 2, len(everything) - 1,
    ]
