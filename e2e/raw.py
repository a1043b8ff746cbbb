"""MQTT by hand: packets as bytes over TLS, for what a well-behaved client would never send.

It knows MQTT 3.1.1 and as much of MQTT 5 as the tests need. Numbers are those of the
specifications' tables.
"""

import socket
import ssl
import struct

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 9, 11, 13, 14

PATIENCE = 10


class Closed(Exception):
    """The hub closed the connection."""


def variable(number):
    """A variable byte integer, MQTT 5.0 §1.5.5."""
    encoded = bytearray()
    while True:
        byte = number % 128
        number //= 128
        encoded.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def text(value):
    """A UTF-8 string, or any bytes in its place."""
    encoded = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(encoded)) + encoded


def packet(first_byte, body):
    """A whole packet."""
    return bytes([first_byte]) + variable(len(body)) + body


def connect(client_id, version=4, clean=True, keep_alive=60, properties=b""):
    """A CONNECT without will, user name and password."""
    body = text("MQTT") + bytes([version, 2 if clean else 0]) + struct.pack(">H", keep_alive)
    if version == 5:
        body += variable(len(properties)) + properties
    return packet(0x10, body + text(client_id))


def publish(topic, payload, qos=0, packet_id=None, duplicate=False, retain=False, version=4):
    """A PUBLISH without properties."""
    body = text(topic)
    if qos:
        body += struct.pack(">H", packet_id)
    if version == 5:
        body += b"\0"
    first = 0x30 | (8 if duplicate else 0) | qos << 1 | (1 if retain else 0)
    return packet(first, body + payload)


def subscribe(filter, qos=1, packet_id=1, version=4):
    """A SUBSCRIBE of one filter."""
    properties = b"\0" if version == 5 else b""
    body = struct.pack(">H", packet_id) + properties + text(filter) + bytes([qos])
    return packet(0x82, body)


def acknowledgement(kind, packet_id):
    """A PUBACK, PUBREC, PUBREL or PUBCOMP that says success."""
    flags = 2 if kind == PUBREL else 0
    return packet(kind << 4 | flags, struct.pack(">H", packet_id))


def tls_context(hub, device=None):
    """Trusts the hub; shows the device's certificate if there is one."""
    context = ssl.create_default_context(cafile=str(hub.root_ca))
    if device is not None:
        context.load_cert_chain(str(device.certificate), str(device.key))
    return context


def open_tls(hub, device=None, port=None, context=None):
    """A TLS connection to the hub."""
    plain = socket.create_connection((hub.host, port or hub.mqtt_port), timeout=PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = context or tls_context(hub, device)
    return context.wrap_socket(plain, server_hostname=hub.host)


class Wire:
    """One connection, packet by packet."""

    def __init__(self, hub, device=None, port=None, context=None):
        self.socket = open_tls(hub, device, port, context)
        self._buffer = bytearray()

    def send(self, *packets):
        """Sends whole packets, or anything else."""
        try:
            self.socket.sendall(b"".join(packets))
        except (ConnectionError, ssl.SSLError, OSError) as error:
            raise Closed(str(error)) from None

    def receive(self, seconds=PATIENCE):
        """The next packet as `(first byte, body)`."""
        self.socket.settimeout(seconds)
        while True:
            whole = self._take()
            if whole is not None:
                return whole
            try:
                chunk = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"no packet within {seconds} s") from None
            except (ConnectionError, ssl.SSLError, OSError) as error:
                raise Closed(str(error)) from None
            if not chunk:
                raise Closed("end of stream")
            self._buffer += chunk

    def expect(self, kind, seconds=PATIENCE):
        """The next packet's body; its type must be `kind`."""
        first, body = self.receive(seconds)
        assert first >> 4 == kind, f"expected packet type {kind}, got {first >> 4}: {body!r}"
        return body

    def connected(self, client_id, **options):
        """Connects; answers whether the hub knew the session."""
        self.send(connect(client_id, **options))
        body = self.expect(CONNACK)
        assert body[1] == 0, f"CONNACK says {body[1]:#x}"
        return bool(body[0] & 1)

    def closed(self, seconds=PATIENCE):
        """Waits for the hub to close; answers the packets that came before."""
        packets = []
        try:
            while True:
                packets.append(self.receive(seconds))
        except Closed:
            return packets

    def close(self):
        self.socket.close()

    def _take(self):
        length, shift = 0, 0
        for index in range(1, 5):
            if index >= len(self._buffer):
                return None
            byte = self._buffer[index]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                end = index + 1 + length
                if len(self._buffer) < end:
                    return None
                whole = (self._buffer[0], bytes(self._buffer[index + 1 : end]))
                del self._buffer[:end]
                return whole
        raise AssertionError("the hub sent a length of more than four bytes")


def parse_publish(first, body, version=4):
    """`(topic, payload, qos, packet id, duplicate)` of a PUBLISH."""
    (length,) = struct.unpack_from(">H", body)
    topic = body[2 : 2 + length].decode()
    at = 2 + length
    qos = first >> 1 & 3
    packet_id = None
    if qos:
        (packet_id,) = struct.unpack_from(">H", body, at)
        at += 2
    if version == 5:
        shift, size = 0, 0
        while True:
            byte = body[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        at += size
    return topic, body[at:], qos, packet_id, bool(first & 8)
