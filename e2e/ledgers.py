"""A ledger made by hand, and witnesses and mirrors run as an operator would.

Trees, proofs, notes and signatures are computed here from RFC 9162 and the C2SP texts with Python's
`cryptography`, so that the program is not asked whether the program is right.
"""

import base64
import hashlib
import json
import pathlib
import signal
import struct
import subprocess

import urllib3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from hub import BINARY, READY_SECONDS, STOP_SECONDS, HubFailed, free_port, wait_until


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(count):
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def root(leaves):
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return node_hash(root(leaves[:middle]), root(leaves[middle:]))


def subtree_proof(start, end, leaves, whole=True):
    """That the leaves `start..end` are part of the tree."""
    if start == 0 and end == len(leaves):
        return [] if whole else [root(leaves)]
    middle = split(len(leaves))
    if end <= middle:
        return subtree_proof(start, end, leaves[:middle], whole) + [root(leaves[middle:])]
    if middle <= start:
        below = subtree_proof(start - middle, end - middle, leaves[middle:], whole)
    else:
        below = subtree_proof(0, end - middle, leaves[middle:], False)
    return below + [root(leaves[:middle])]


def encoded(data):
    return base64.b64encode(data).decode()


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


class Key:
    """A public key as it stands in a policy file."""

    def __init__(self, text):
        self.name, self.id, key = text.split("+", 2)
        key = base64.b64decode(key)
        self.kind, self.public = key[0], key[1:]
        assert key_id(self.name, self.kind, self.public).hex() == self.id

    def cosigned_at(self, note):
        """When this key signed the checkpoint, or None when it did not."""
        text, lines = note.rsplit("\n\n", 1)
        text += "\n"
        for line in lines.splitlines():
            dash, name, signature = line.split(" ")
            signature = base64.b64decode(signature)
            if (dash, name, signature[:4].hex()) != ("\u2014", self.name, self.id):
                continue
            seconds = struct.unpack(">Q", signature[4:12])[0]
            try:
                self.check(text, seconds, signature[12:])
            except InvalidSignature:
                return None
            return seconds
        return None

    def check(self, text, seconds, signature):
        if self.kind == 4:
            message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
            key = ed25519.Ed25519PublicKey.from_public_bytes(self.public)
        else:
            origin, size, tree = text.splitlines()
            names = [bytes([len(name)]) + name.encode() for name in (self.name, origin)]
            message = b"subtree/v1\n\0" + names[0] + struct.pack(">Q", seconds) + names[1]
            message += struct.pack(">QQ", 0, int(size)) + base64.b64decode(tree)
            key = mldsa.MLDSA44PublicKey.from_public_bytes(self.public)
        key.verify(signature, message)


class Ledger:
    """Entries, and checkpoints signed over them. One key may sign several histories."""

    def __init__(self, origin="hub.example/ledger", key=None):
        self.origin = origin
        self.key = key or ed25519.Ed25519PrivateKey.generate()
        self.entries = []

    @property
    def leaves(self):
        return [leaf_hash(entry) for entry in self.entries]

    @property
    def size(self):
        return len(self.entries)

    @property
    def vkey(self):
        public = self.key.public_key().public_bytes_raw()
        key = encoded(b"\1" + public)
        return f"{self.origin}+{key_id(self.origin, 1, public).hex()}+{key}"

    @property
    def origin_hash(self):
        return hashlib.sha256(self.origin.encode()).hexdigest()

    def fork(self):
        """Another history with the same beginning, under the same key."""
        other = Ledger(self.origin, self.key)
        other.entries = list(self.entries)
        return other

    def grow(self, size, salt="entry"):
        while self.size < size:
            self.entries.append(f"{salt} {self.size}".encode())
        return self

    def checkpoint(self):
        """The signed checkpoint of what there is now."""
        text = f"{self.origin}\n{self.size}\n{encoded(root(self.leaves))}\n"
        public = self.key.public_key().public_bytes_raw()
        signature = key_id(self.origin, 1, public) + self.key.sign(text.encode())
        return f"{text}\n\u2014 {self.origin} {encoded(signature)}\n"

    def request(self, old):
        """The body of add-checkpoint, for one who has seen `old` entries."""
        proof = subtree_proof(0, old, self.leaves) if 0 < old <= self.size else []
        lines = "".join(f"{encoded(one)}\n" for one in proof)
        return f"old {old}\n{lines}\n{self.checkpoint()}".encode()

    def upload(self, start):
        """The body of add-entries from `start` on."""
        name, end = self.origin.encode(), self.size
        body = struct.pack(">H", len(name)) + name + struct.pack(">QQH", start, end, 0)
        while start < end:
            tile = start - start % 256
            until = min(end, tile + 256)
            for entry in self.entries[start:until]:
                body += struct.pack(">H", len(entry)) + entry
            proof = subtree_proof(tile, until, self.leaves)
            body += bytes([len(proof)]) + b"".join(proof)
            start = until
        return body

    def tile(self, path):
        """The bytes of a hash tile of this history, at `tile/LEVEL/INDEX[.p/WIDTH]`; or None."""
        level, index, *rest = path.removeprefix("tile/").split("/", 2)
        index, _, partial = index.partition(".")
        width = int(rest[0]) if partial else 256
        reach = 256 ** int(level)
        starts = [(int(index) * 256 + at) * reach for at in range(width)]
        if starts[-1] + reach > self.size:
            return None
        return b"".join(root(self.leaves[at : at + reach]) for at in starts)


class Watcher:
    """A witness or a mirror as a process: start it, ask it, kill it, start it again."""

    def __init__(self, role, folder, ledgers, options=()):
        self.role = role
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = free_port()
        self.options = [word for one in ledgers for word in ("--log", one.vkey)] + list(options)
        self.process = None

    def start(self):
        """Starts it and waits until it accepts connections."""
        path = self.folder / "ready"
        path.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.words("--ready-file", path), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def is_ready():
            if self.process.poll() is not None:
                raise HubFailed(f"exit code {self.process.returncode}\n{self.log.read_text()}")
            return path.exists()

        wait_until(is_ready, READY_SECONDS, "the ready file")
        ready = json.loads(path.read_text())
        self.url, self.lines = ready["url"], ready["policy_lines"]
        self.keys = [Key(line.split(" ")[2]) for line in self.lines]
        self.pool = urllib3.PoolManager(ca_certs=ready["root_ca"])
        return self

    def words(self, *more):
        port = str(self.port)
        return [BINARY, self.role, "--data", self.data, "--port", port, *self.options, *more]

    def refused(self):
        """Starts it where it must not start. Answers what it says."""
        ended = subprocess.run(
            self.words(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )
        assert ended.returncode == 2, ended
        return ended.stderr

    def post(self, path, body):
        return self.pool.request("POST", f"{self.url}/{path}", body=body, retries=False, timeout=20)

    def get(self, path):
        return self.pool.request("GET", f"{self.url}/{path}", retries=False, timeout=20)

    def add_checkpoint(self, ledger, old):
        return self.post("add-checkpoint", ledger.request(old))

    def found_alarms(self):
        """The alarms, once it has ended looking for where the histories part."""
        def found():
            alarms = json.loads(self.get("alarms").data)
            return [alarms] if all(one["finding"] != "sought" for one in alarms) else None

        return wait_until(found, 20, "the search for where the histories part")[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self.process = None
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process is not None:
            self.kill()
