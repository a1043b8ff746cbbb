"""WebSocket by hand: presigned URLs, handshakes and frames as bytes, for what a well-behaved client
would never send. Numbers are those of RFC 6455."""

import base64
import datetime
import hashlib
import hmac
import os
import struct
import urllib.parse

import raw
from raw import Closed, open_tls

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PATIENCE = 10


def presigned(hub, age=0, expires=None, region=None, service="iotdevicegateway", secret=None):
    """The path and query of a URL signed `age` seconds ago, as AWS's documentation signs it."""
    environment = hub.environment
    region = region or environment["AWS_REGION"]
    secret = secret or environment["AWS_SECRET_ACCESS_KEY"]
    made = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
    stamp = made.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{environment['AWS_ACCESS_KEY_ID']}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-SignedHeaders": "host",
    }
    if expires is not None:
        query["X-Amz-Expires"] = str(expires)
    text = "&".join(
        f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(query.items())
    )
    host = f"{hub.host}:{hub.https_port}"
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/mqtt\n{text}\nhost:{host}\n\nhost\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return f"/mqtt?{text}&X-Amz-Signature={hmac.digest(key, to_sign.encode(), 'sha256').hex()}"


def frame(opcode, payload=b"", last=True, masked=True, length=None):
    """A client's frame; `length` lies about the payload's."""
    length = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if length < 126:
        head = bytes([bit | length])
    elif length < 65536:
        head = bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head = bytes([bit | 127]) + struct.pack(">Q", length)
    mask = os.urandom(4) if masked else b""
    if masked:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([(0x80 if last else 0) | opcode]) + head + mask + payload


class NotSwitched(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.headers = headers
        self.body = body


class WebSocket:
    """One connection, frame by frame."""

    def __init__(self, hub, target=None, device=None, method="GET", **headers):
        self.socket = open_tls(hub, device, hub.https_port)
        self._buffer = bytearray()
        key = base64.b64encode(os.urandom(16)).decode()
        sent = {
            "Host": f"{hub.host}:{hub.https_port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": "mqtt",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in sent.items() if value is not None]
        target = presigned(hub) if target is None else target
        self.socket.sendall(
            "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode()
        )
        self.headers = self._handshake()
        proof = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(proof).decode()

    def _more(self, seconds=PATIENCE):
        self.socket.settimeout(seconds)
        try:
            chunk = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"nothing within {seconds} s") from None
        except OSError as error:
            raise Closed(str(error)) from None
        if not chunk:
            raise Closed("end of stream")
        self._buffer += chunk

    def _take(self, count, seconds=PATIENCE):
        while len(self._buffer) < count:
            self._more(seconds)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _handshake(self):
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        end = self._buffer.index(b"\r\n\r\n") + 4
        lines = self._take(end).decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        if status != 101:
            body = self._take(int(headers.get("content-length", 0))).decode()
            self.socket.close()
            raise NotSwitched(status, headers, body)
        return headers

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(frames))
        except OSError as error:
            raise Closed(str(error)) from None

    def receive(self, seconds=PATIENCE):
        """The next frame as `(opcode, payload)`; the hub never sends fragments."""
        first, length = self._take(2, seconds)
        assert first & 0xF0 == 0x80, f"{first:#x}"
        assert length < 128, "a server masks nothing"
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2, seconds))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8, seconds))
        return first & 15, self._take(length, seconds)

    def expect(self, opcode, seconds=PATIENCE):
        """The next frame's payload; it must be of this kind."""
        found, payload = self.receive(seconds)
        assert found == opcode, f"expected opcode {opcode}, got {found}: {payload!r}"
        return payload

    def closed(self, seconds=PATIENCE):
        """Reads on until the close frame and the end of the stream; answers the code."""
        while True:
            opcode, payload = self.receive(seconds)
            if opcode == CLOSE:
                break
        try:
            self._more(seconds)
        except Closed:
            pass
        return struct.unpack(">H", payload[:2])[0] if payload else None

    def connected(self, client_id, **options):
        """Sends CONNECT; the answer must be yes."""
        self.send(frame(BINARY, raw.connect(client_id, **options)))
        connack = self.expect(BINARY)
        assert connack[0] == 0x20 and connack[3] == 0, connack
        return self

    def close(self):
        self.socket.close()
