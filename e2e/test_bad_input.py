"""Bad input: each gets a clear refusal, costs bounded memory, and harms no one else."""

import json
import socket
import ssl
import struct
import subprocess
import time

import pytest
import urllib3

import raw
from clients import Refused, SdkMqtt5
from devices import Device, policy_of, unique
from hub import wait_until
from raw import Closed, Wire

MALFORMED = 0x81
PROTOCOL_ERROR = 0x82
TOO_LARGE = 0x95


@pytest.fixture
def bystander(hub, workshop, opened):
    """A well-behaved client. Whatever a test does, it must still be served at its end."""
    client = opened(SdkMqtt5(hub, workshop.device()))
    client.connect()
    topic = unique("bystander")
    client.subscribe(topic)
    yield client
    client.publish(topic, b"still here")
    assert client.next().payload == b"still here"


def connected(hub, device, opened, version=5):
    wire = opened(Wire(hub, device))
    wire.connected(device.name, version=version)
    return wire


def ends_with(wire, code):
    """The hub must close, and over MQTT 5 say `code` first."""
    packets = wire.closed()
    assert packets, "closed without DISCONNECT"
    first, body = packets[-1]
    assert first >> 4 == raw.DISCONNECT
    assert body[0] == code, f"{body[0]:#x}: {body!r}"
    return body


@pytest.mark.parametrize(
    ("what", "packet", "codes"),
    [
        ("a reserved packet type", b"\x00\x00", (MALFORMED,)),
        ("a PUBLISH with QoS 3", b"\x36\x07\x00\x01a\x00\x01\x00x", (MALFORMED,)),
        ("flags on a PINGREQ", b"\xc1\x00", (MALFORMED,)),
        ("a SUBSCRIBE with the wrong flags", b"\x80\x07\x00\x01\x00\x00\x01a\x01", (MALFORMED,)),
        ("a length of five bytes", b"\x30\xff\xff\xff\xff\x01", (MALFORMED,)),
        ("a topic that is not UTF-8", raw.publish(b"\xff\xfe", b"", version=5), (MALFORMED,)),
        ("a topic with a null", raw.publish("a\0b", b"", version=5), (MALFORMED,)),
        ("a wildcard in a topic", raw.publish("a/+/b", b"", version=5), (MALFORMED, 0x90)),
        ("an empty topic", raw.publish("", b"", version=5), (PROTOCOL_ERROR, MALFORMED, 0x90)),
        ("a SUBSCRIBE of nothing", b"\x82\x03\x00\x01\x00", (PROTOCOL_ERROR, MALFORMED)),
        ("packet id 0", b"\x32\x06\x00\x01a\x00\x00\x00", (PROTOCOL_ERROR, MALFORMED)),
        ("a second CONNECT", raw.connect("again", version=5), (PROTOCOL_ERROR,)),
        ("a topic longer than its packet", b"\x30\x04\xff\xffab", (MALFORMED,)),
        ("an acknowledgement of nothing", b"\x40\x02\x12\x34", None),
    ],
)
def test_a_malformed_packet_ends_only_its_own_connection(
    hub, workshop, opened, bystander, what, packet, codes
):
    wire = connected(hub, workshop.device(), opened)
    wire.send(packet)
    if codes is None:
        wire.send(b"\xc0\x00")
        wire.expect(raw.PINGRESP)
        return
    packets = wire.closed()
    assert packets, f"{what}: closed without DISCONNECT"
    first, body = packets[-1]
    assert first >> 4 == raw.DISCONNECT
    assert body[0] in codes, f"{what}: {body[0]:#x}"


def test_a_packet_over_the_limit_is_refused_before_it_is_read(hub, workshop, opened, bystander):
    wire = connected(hub, workshop.device(), opened)
    before = hub.resident_kilobytes()
    # It claims 256 MiB and sends none of it.
    wire.send(b"\x30\xff\xff\xff\x7f")
    ends_with(wire, TOO_LARGE)
    assert hub.resident_kilobytes() - before < 16 * 1024


def test_a_ten_megabyte_message_is_refused(hub, workshop, opened, bystander):
    wire = connected(hub, workshop.device(), opened)
    try:
        wire.send(raw.publish("big", b"x" * 10_000_000, version=5))
    except Closed:
        pass
    try:
        ends_with(wire, TOO_LARGE)
    except AssertionError:
        # A reset may overtake the DISCONNECT while we still write; the timeline keeps the reason.
        pass


@pytest.mark.parametrize(
    "start", [b"\x10", b"\x10\x7f\x00\x04MQTT", b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"]
)
def test_a_peer_that_stops_halfway_is_not_waited_for_forever(hub, workshop, opened, start):
    device = workshop.device()
    wire = opened(Wire(hub, device))
    wire.send(start)
    started = time.monotonic()
    wire.closed(seconds=30)
    assert time.monotonic() - started < 20


def test_a_connect_larger_than_an_unknown_peer_may_send_is_refused(hub, workshop, opened):
    wire = opened(Wire(hub, workshop.device()))
    try:
        wire.send(raw.connect("x" * 60_000, version=5))
    except Closed:
        pass
    packets = wire.closed()
    assert not packets or packets[0][0] >> 4 == raw.CONNACK and packets[0][1][1] >= 0x80


def test_bytes_that_are_no_protocol_are_closed(hub, opened, bystander):
    wire = opened(Wire(hub))
    wire.send(b"\xff" * 1000)
    assert wire.closed(seconds=15) == []


def test_plain_text_on_a_tls_port_is_closed(hub, bystander):
    with socket.create_connection((hub.host, hub.mqtt_port), timeout=15) as plain:
        plain.sendall(raw.connect("plain"))
        received = plain.recv(100)
        # Nothing, or a TLS alert: never an MQTT answer.
        assert received == b"" or received[0] == 0x15


def test_a_client_that_does_not_trust_the_hub_hurts_only_itself(hub, workshop, bystander):
    device = workshop.device()
    context = ssl.create_default_context()
    context.load_cert_chain(str(device.certificate), str(device.key))
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(hub, device, context=context)
    wait_until(
        lambda: "unknown" in hub.command("trace", "--failed").stdout.lower(),
        2,
        "the failed handshake in the trace",
    )


def self_signed(folder, *words, name="stranger"):
    """A certificate no one has registered; answers it as a device."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "device.key", "-out", "device.pem", "-subj", f"/CN={name}", *words,
        ],
        cwd=folder, check=True, capture_output=True,
    )
    return Device(name, "", "", "", folder / "device.pem", folder / "device.key")


def test_an_unknown_certificate_is_told_so_after_the_handshake(hub, tmp_path, bystander):
    stranger = self_signed(tmp_path / "stranger", "-days", "30")
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, stranger).connect()
    assert refused.value.code in (0x87, 0x86, 0x8C)
    assert "regist" in refused.value.text


def test_a_certificate_of_another_ca_is_told_so(hub, tmp_path, bystander):
    authority = self_signed(tmp_path / "ca", "-days", "30", name="another CA")
    # `openssl req -CA` needs OpenSSL 3, which Debian 12 has.
    stranger = self_signed(
        tmp_path / "leaf",
        "-days", "30", "-CA", str(authority.certificate), "-CAkey", str(authority.key),
    )
    with pytest.raises(Refused):
        SdkMqtt5(hub, stranger).connect()


def test_no_certificate_at_all_is_told_so(hub, opened, bystander):
    wire = opened(Wire(hub))
    wire.send(raw.connect("nobody", version=5))
    body = wire.expect(raw.CONNACK)
    assert body[1] in (0x86, 0x87)
    assert b"certificate" in body


def test_an_expired_certificate_is_told_so(hub, iot, tmp_path, workshop, bystander):
    folder = tmp_path / "expired"
    expired = backdated(folder)
    made = iot.register_certificate_without_ca(
        certificatePem=expired.certificate.read_text(), status="ACTIVE"
    )
    iot.attach_policy(policyName=workshop.policy(), target=made["certificateArn"])
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, expired).connect()
    assert "expired" in refused.value.text.lower()


def backdated(folder):
    """A certificate whose time has passed."""
    folder.mkdir(parents=True, exist_ok=True)
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-keyout", "device.key",
               "-out", "device.csr", "-subj", "/CN=expired"]
    sign = ["openssl", "ca", "-selfsign", "-batch", "-config", "ca.conf", "-keyfile", "device.key",
            "-in", "device.csr", "-out", "device.pem", "-notext",
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    (folder / "index").write_text("")
    (folder / "serial").write_text("01\n")
    for command in (request, sign):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return Device("expired", "", "", "", folder / "device.pem", folder / "device.key")


def test_a_stolen_client_id_is_refused(hub, workshop, opened, bystander):
    victim = workshop.device()
    live = opened(SdkMqtt5(hub, victim))
    live.connect()
    thief = workshop.device(
        policy_of(
            ("Allow", "iot:Connect", "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}")
        )
    )
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, thief, client_id=victim.name).connect()
    assert refused.value.code == 0x87
    with pytest.raises(AssertionError):
        live.disconnected(0.5)


def test_a_ten_megabyte_body_is_refused_without_being_held(hub, bystander):
    before = hub.resident_kilobytes()
    try:
        answer = hub.signed("POST", f"/things/{unique('t')}", b"x" * 10_000_000)
        assert answer.status == 413, answer.data
    except urllib3.exceptions.ProtocolError:
        pass  # refused while we still wrote
    assert hub.resident_kilobytes() - before < 16 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"attributePayload": 7}',
        b'{"attributePayload": {"attributes": {"a": {"b": 1}}}}',
    ],
)
def test_json_that_is_broken_deep_or_wrong_is_refused(hub, bystander, body):
    answer = hub.signed("POST", f"/things/{unique('t')}", body)
    assert answer.status == 400, answer.data
    assert json.loads(answer.data)["message"]


@pytest.mark.parametrize("depth", [7, 1000, 40_000])
def test_a_shadow_that_is_too_deep_is_refused(workshop, iot_data, bystander, depth):
    device = workshop.device()
    payload = b'{"state":{"desired":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}}"
    with pytest.raises(iot_data.exceptions.ClientError) as refused:
        iot_data.update_thing_shadow(thingName=device.name, payload=payload)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"BREW / HTTP/9.9\r\n\r\n",
    ],
)
def test_a_broken_http_head_is_refused(hub, opened, bystander, head):
    stream = opened(raw.open_tls(hub, port=hub.https_port))
    try:
        stream.sendall(head)
        received = stream.recv(100)
    except (ConnectionError, ssl.SSLError):
        return
    assert received == b"" or received[9:10] == b"4" or received[9:12] == b"505", received


def test_many_topics_cost_bounded_memory(hub, workshop, opened, bystander):
    wire = connected(hub, workshop.device(), opened, version=4)
    before = hub.resident_kilobytes()
    for start in range(0, 100_000, 1000):
        wire.send(
            *(raw.publish(f"many/{number}", b"x") for number in range(start, start + 1000))
        )
    wire.send(b"\xc0\x00")
    wire.expect(raw.PINGRESP, seconds=60)
    assert hub.resident_kilobytes() - before < 32 * 1024


def test_a_session_may_not_subscribe_without_end(hub, workshop, opened, bystander):
    wire = connected(hub, workshop.device(), opened, version=5)
    refused = False
    for number in range(10_050):
        wire.send(raw.subscribe(f"many/{number}", packet_id=number % 65535 + 1, version=5))
        if number % 50 == 49:
            for _ in range(50):
                first, body = wire.receive()
                assert first >> 4 == raw.SUBACK, f"{first:#x} {body!r}"
                refused = refused or body[-1] in (0x97, 0x87)
    assert refused


def test_a_slow_reader_stalls_no_one(hub, workshop, opened, bystander):
    topic = unique("flood")
    slow = connected(hub, workshop.device(), opened, version=4)
    slow.send(raw.subscribe(topic, 0))
    slow.expect(raw.SUBACK)
    quick = opened(SdkMqtt5(hub, workshop.device()))
    quick.connect()
    quick.subscribe(topic)
    publisher = connected(hub, workshop.device(), opened, version=4)
    before = hub.resident_kilobytes()
    payload = b"x" * 10_000
    for _ in range(3000):  # 30 MB that the slow one does not read
        publisher.send(raw.publish(topic, payload))
    publisher.send(raw.publish(topic, b"last", 1, 1))
    publisher.expect(raw.PUBACK, seconds=30)
    deadline = time.monotonic() + 30
    while quick.next(30).payload != b"last":
        assert time.monotonic() < deadline
    assert hub.resident_kilobytes() - before < 32 * 1024


def test_handshakes_that_never_end_leave_room_for_others(hub, bystander):
    hanging = [socket.create_connection((hub.host, hub.mqtt_port)) for _ in range(200)]
    try:
        for peer in hanging:
            peer.sendall(b"\x16\x03\x01\x02")
    finally:
        for peer in hanging:
            peer.close()


def test_a_property_twice_is_a_protocol_error(hub, workshop, opened):
    wire = opened(Wire(hub, workshop.device()))
    twice = b"\x21" + struct.pack(">H", 10)
    wire.send(raw.connect("twice", version=5, properties=twice + twice))
    packets = wire.closed()
    assert packets and packets[0][1][1] == PROTOCOL_ERROR
