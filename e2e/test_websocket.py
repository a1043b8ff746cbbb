"""MQTT over WebSocket: every SDK with its own way of signing, and everybody who signs wrongly,
frames wrongly or asks wrongly."""

import json
import socket
import ssl
import time
import urllib.parse

import paho.mqtt.client as paho
import pytest
from awscrt import mqtt5
from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTClient

import raw
from clients import Inbox, Refused, SdkMqtt5, SdkWebSocket5, SdkWebSocket311
from devices import Workshop, connect_and, unique
from hub import Hub, wait_until
from raw import Closed, Wire
from raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    NotSwitched,
    WebSocket,
    frame,
    presigned,
)


# --- the vendors' clients -----------------------------------------------------------------------


def test_the_python_sdk_speaks_mqtt_5(hub, opened):
    client = opened(SdkWebSocket5(hub, unique("ws")))
    assert client.connect().reason_code == mqtt5.ConnectReasonCode.SUCCESS
    assert client.subscribe(f"{client.client_id}/#") == (mqtt5.SubackReasonCode.GRANTED_QOS_1, None)
    assert client.publish(f"{client.client_id}/a", b"hello").reason_code == 0
    message = client.next()
    assert (message.topic, message.payload) == (f"{client.client_id}/a", b"hello")


def test_the_python_sdk_speaks_mqtt_311(hub, opened):
    client = opened(SdkWebSocket311(hub, unique("ws")))
    assert client.connect() == {"session_present": False}
    assert client.subscribe(f"{client.client_id}/#") == 1
    client.publish(f"{client.client_id}/a", b"hello")
    assert client.next() == (f"{client.client_id}/a", b"hello")


@pytest.fixture(scope="module")
def named_hub(tmp_path_factory):
    """A hub under a name such as AWS gives endpoints, from which old SDKs read the region."""
    region = "eu-central-1"
    name = f"hub-ats.iot.{region}.amazonaws.lan"
    folder = tmp_path_factory.mktemp("named")
    named = Hub(folder, ["--hostname", name, "--region", region]).start()
    named.name = name
    yield named
    named.close()


@pytest.fixture
def name_resolves(named_hub, monkeypatch):
    """The hub's name is no name of the network's."""
    resolve = socket.getaddrinfo

    def to_loopback(host, *arguments, **settings):
        host = "127.0.0.1" if host == named_hub.name else host
        return resolve(host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", to_loopback)


def test_the_first_python_sdk_speaks_and_listens(named_hub, name_resolves):
    name = unique("v1")
    client = AWSIoTMQTTClient(name, useWebsocket=True)
    client.configureEndpoint(named_hub.name, named_hub.https_port)
    client.configureCredentials(str(named_hub.root_ca))
    environment = named_hub.environment
    client.configureIAMCredentials(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    )
    client.configureConnectDisconnectTimeout(10)
    client.configureMQTTOperationTimeout(10)
    client.configureOfflinePublishQueueing(-1)
    inbox = Inbox()
    assert client.connect()
    assert client.subscribe(f"{name}/#", 1, lambda _, __, message: inbox.put(message.payload))
    assert client.publish(f"{name}/a", "hello", 1)
    assert inbox.next() == b"hello"
    # It reads one packet for each time that its socket is readable: a burst must come as many
    # frames, or some of it stays in the client's buffer.
    publisher = SdkWebSocket5(named_hub, unique("burst"))
    publisher.connect()
    sent = [f"{number}".encode() * 50 for number in range(20)]
    for payload in sent:
        publisher.publish(f"{name}/b", payload, qos=0)
    assert [inbox.next() for _ in sent] == sent
    publisher.close()
    assert client.disconnect()


@pytest.mark.parametrize("version", [4, 5])
def test_paho_connects_with_a_presigned_url(hub, version):
    name = unique("paho")
    inbox, connected = Inbox(), Inbox()
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
        transport="websockets",
    )
    client.tls_set(ca_certs=str(hub.root_ca), tls_version=ssl.PROTOCOL_TLS_CLIENT)
    client.ws_set_options(path=presigned(hub))
    client.on_connect = lambda *event: connected.put(event[3])
    client.on_subscribe = lambda *event: connected.put(event[3][0])
    client.on_message = lambda client, _, message: inbox.put(message.payload)
    client.connect(hub.host, hub.https_port)
    client.loop_start()
    try:
        assert not connected.next().is_failure
        client.subscribe(f"{name}/#", 2)
        assert connected.next().value == 2
        for qos in (0, 1, 2):
            client.publish(f"{name}/a", f"at {qos}", qos).wait_for_publish(10)
            assert inbox.next() == f"at {qos}".encode()
    finally:
        client.disconnect()
        client.loop_stop()


def test_websocket_and_tcp_clients_hear_one_another(hub, workshop, opened):
    device = workshop.device()
    tcp = opened(SdkMqtt5(hub, device))
    tcp.connect()
    tcp.subscribe(f"{device.name}/in")
    web = opened(SdkWebSocket5(hub, unique("ws")))
    web.connect()
    web.subscribe(f"{device.name}/out")
    # As large as two frames of the SDK's.
    large = bytes(range(256)) * 400
    web.publish(f"{device.name}/in", large)
    assert tcp.next().payload == large
    tcp.publish(f"{device.name}/out", large)
    assert web.next().payload == large


def test_the_principal_is_the_access_key(hub, workshop, opened):
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    name = unique("ws")
    watcher.subscribe(f"$aws/events/presence/connected/{name}")
    opened(SdkWebSocket5(hub, name)).connect()
    event = json.loads(watcher.next().payload)
    assert event["principalIdentifier"] == hub.environment["AWS_ACCESS_KEY_ID"]


def test_a_session_lives_on_and_a_second_client_takes_over(hub, opened):
    name = unique("ws")
    first = opened(SdkWebSocket5(hub, name, session_expiry_interval_sec=60))
    first.connect()
    first.subscribe(f"{name}/#")
    second = opened(
        SdkWebSocket5(
            hub,
            name,
            session_expiry_interval_sec=60,
            session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
        )
    )
    assert second.connect().session_present
    assert first.disconnected().reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
    second.publish(f"{name}/a", b"still subscribed")
    assert second.next().payload == b"still subscribed"


def whole(packet):
    """The first byte and the body of an MQTT packet that came in a frame of its own."""
    length, at, shift = 0, 1, 0
    while True:
        byte = packet[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            break
    assert len(packet) == at + length, packet
    return packet[0], packet[at:]


# --- who may come in ----------------------------------------------------------------------------


def refused_in_trace(hub, reason):
    """Waits until the newest refusal in the trace has this reason; answers its text."""

    def found():
        printed = hub.command("trace", "--failed").stdout
        return printed if reason in printed or reason.split(".")[1] in printed else None

    return wait_until(found, 5, f"{reason} in the trace")


def tampered(target):
    """The signature with its last digit changed."""
    return target[:-1] + ("0" if target[-1] != "0" else "1")


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda hub: presigned(hub, age=61, expires=60), "signature.expired", "expired at"),
        (lambda hub: presigned(hub, age=86401, expires=86400), "signature.expired", "expired at"),
        (lambda hub: presigned(hub, age=301), "signature.clock-skew", "clock"),
        (lambda hub: presigned(hub, age=-301), "signature.clock-skew", "clock"),
        (lambda hub: presigned(hub, secret="wrong"), "signature.mismatch", "does not match"),
        (lambda hub: tampered(presigned(hub)), "signature.mismatch", "does not match"),
        (
            lambda hub: presigned(hub, expires=60).replace("Expires=60", "Expires=61"),
            "signature.mismatch",
            "does not match",
        ),
        (lambda hub: presigned(hub, region="mars-1"), "signature.wrong-region", "region"),
        (lambda hub: presigned(hub, service="sts"), "signature.wrong-service", "service"),
        (lambda hub: presigned(hub).replace("Credential=", "Credential=X"), "signature.", "key"),
        (lambda hub: "/mqtt", "signature.missing", "not signed"),
        (lambda hub: "/mqtt?X-Amz-Signature=0", "signature.missing", "not signed"),
    ],
)
def test_a_url_that_is_not_good_is_refused_with_its_reason(hub, change, reason, words):
    with pytest.raises(NotSwitched) as refused:
        WebSocket(hub, change(hub))
    assert refused.value.status == 403, refused.value.body
    assert refused.value.headers["x-sekisho-reason"].startswith(reason)
    assert words in json.loads(refused.value.body)["message"]
    assert words in refused_in_trace(hub, refused.value.headers["x-sekisho-reason"])


def test_a_good_url_of_the_data_plane_and_within_its_life_is_taken(hub, opened):
    for target in (
        presigned(hub),
        presigned(hub, expires=86400, age=80000),
        presigned(hub, service="iotdata", expires=86400),
    ):
        opened(WebSocket(hub, target)).connected(unique("ws"))


def test_a_refused_sdk_is_told_so(hub):
    client = SdkWebSocket5(hub, unique("ws"))
    hub_environment = dict(hub.environment)
    try:
        hub.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
        client = SdkWebSocket5(hub, unique("ws"))
    finally:
        hub.environment.update(hub_environment)
    with pytest.raises(Refused):
        client.connect()


def test_a_device_certificate_opens_a_websocket_and_its_policy_applies(hub, workshop, opened):
    device = workshop.device(
        connect_and(("Allow", "iot:Publish", f"arn:aws:iot:*:*:topic/{unique('t')}"))
    )
    web = opened(WebSocket(hub, "/mqtt", device)).connected(device.name, version=5)
    web.send(frame(BINARY, raw.publish("elsewhere", b"x", 1, 1, version=5)))
    first, body = whole(web.expect(BINARY))
    assert (first, body[2]) == (0x40, 0x87), body


def test_a_revoked_certificate_ends_its_websocket(hub, workshop, opened, iot):
    device = workshop.device()
    web = opened(WebSocket(hub, "/mqtt", device)).connected(device.name, version=5)
    iot.update_certificate(certificateId=device.certificate_id, newStatus="REVOKED")
    first, body = whole(web.expect(BINARY))
    assert (first, body[0]) == (0xE0, 0x87), body
    assert web.closed() == 1000
    again = opened(WebSocket(hub, "/mqtt", device))
    again.send(frame(BINARY, raw.connect(device.name, version=5)))
    first, body = whole(again.expect(BINARY))
    assert (first, body[1]) == (0x20, 0x87), body


def test_as_on_aws_a_certificate_alone_opens_nothing(tmp_path, opened):
    strict = Hub(tmp_path / "strict", ["--profile", "aws-strict"]).start()
    try:
        device = Workshop(strict, tmp_path).device()
        with pytest.raises(NotSwitched) as refused:
            WebSocket(strict, "/mqtt", device)
        assert refused.value.status == 403
        opened(WebSocket(strict)).connected("a")
    finally:
        strict.close()


def test_a_custom_authorizer_is_refused_by_name(hub):
    with pytest.raises(NotSwitched) as refused:
        WebSocket(hub, "/mqtt?x-amz-customauthorizer-name=A")
    assert refused.value.status == 501
    assert "custom authorizers" in refused.value.body


# --- the handshake ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "request_", "headers"),
    [
        (405, {"method": "POST"}, {}),
        (426, {}, {"Upgrade": None}),
        (426, {}, {"Connection": "close"}),
        (426, {}, {"Sec_WebSocket_Version": "8"}),
        (400, {}, {"Sec_WebSocket_Key": None}),
        (400, {}, {"Sec_WebSocket_Key": "short"}),
        (400, {}, {"Sec_WebSocket_Protocol": "soap"}),
        (400, {}, {"Sec_WebSocket_Protocol": None}),
        (404, {"target": "/mqtt/"}, {}),
        (404, {"target": "/elsewhere"}, {}),
        (431, {"target": "/mqtt?" + "x" * 20000}, {}),
    ],
)
def test_a_handshake_that_is_none_is_refused(hub, status, request_, headers):
    with pytest.raises(NotSwitched) as refused:
        WebSocket(hub, **request_, **headers)
    assert refused.value.status == status, refused.value.body
    if status == 426:
        assert (
            refused.value.headers.get("sec-websocket-version") == "13"
            or refused.value.headers.get("upgrade") == "websocket"
        )


def test_a_browser_of_any_origin_may_connect_and_chooses_a_subprotocol(hub, opened):
    web = opened(
        WebSocket(
            hub,
            Origin="https://app.example",
            User_Agent="Mozilla/5.0",
            Cookie="a=b",
            Connection="keep-alive, Upgrade",
            Sec_WebSocket_Protocol="soap, mqtt",
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        )
    )
    assert web.headers["sec-websocket-protocol"] == "mqtt"
    assert "sec-websocket-extensions" not in web.headers
    assert "access-control-allow-origin" not in web.headers
    web.connected(unique("browser"))


def test_a_page_of_another_origin_cannot_use_the_browsers_certificate(hub, workshop, opened):
    device = workshop.device()
    with pytest.raises(NotSwitched) as refused:
        WebSocket(hub, "/mqtt", device, Origin="https://app.example")
    assert refused.value.status == 403
    assert refused.value.headers["x-sekisho-reason"] == "websocket.origin"
    own = f"https://{hub.host}:{hub.https_port}"
    opened(WebSocket(hub, "/mqtt", device, Origin=own)).connected(device.name)


# --- frames -------------------------------------------------------------------------------------


@pytest.fixture
def web(hub, opened):
    """A connected WebSocket client."""
    return opened(WebSocket(hub)).connected(unique("ws"))


def test_packets_may_share_frames_and_span_them(hub, web):
    topic = unique("t")
    packets = raw.subscribe(topic, 0) + raw.publish(topic, b"x" * 300)
    first, second = packets[:20], packets[20:]
    web.send(
        frame(BINARY, first[:1], last=False),
        frame(CONTINUATION, first[1:7], last=False),
        frame(PING, b"in between"),
        frame(CONTINUATION, b"", last=False),
        frame(CONTINUATION, first[7:]),
        frame(BINARY, b""),
        frame(BINARY, second),
    )
    seen, payload = [], b""
    while not payload.endswith(b"x" * 300):
        opcode, part = web.receive()
        seen.append(opcode)
        payload += part if opcode == BINARY else b""
        assert opcode == BINARY or part == b"in between"
    assert PONG in seen
    assert payload.startswith(b"\x90\x03\x00\x01\x00\x30")


def test_a_frame_may_come_byte_by_byte(web):
    for byte in frame(BINARY, raw.packet(0xC0, b"")):
        web.send(bytes([byte]))
    assert web.expect(BINARY) == b"\xd0\x00"


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        (1003, [frame(TEXT, b"hello")]),
        (1002, [frame(BINARY, b"\xc0\x00", masked=False)]),
        (1002, [frame(CONTINUATION, b"\xc0\x00")]),
        (1002, [frame(BINARY, b"\xc0", last=False), frame(BINARY, b"\x00")]),
        (1002, [frame(3, b"")]),
        (1002, [frame(PING, b"x" * 126)]),
        (1002, [frame(PING, b"x", last=False)]),
        (1002, [frame(CLOSE, b"\x03\xed")]),
        (1009, [frame(BINARY, b"", length=1024 * 1024 + 1)]),
        (1009, [frame(BINARY, b"", length=2**62)]),
    ],
)
@pytest.mark.parametrize("before_connect", [True, False])
def test_frames_that_break_the_rules_end_the_connection_with_a_code(
    hub, opened, code, frames, before_connect
):
    web = opened(WebSocket(hub))
    if not before_connect:
        web.connected(unique("ws"))
    web.send(*frames)
    assert web.closed() == code


def test_why_a_connection_ended_is_in_its_timeline(hub, opened):
    name = unique("ws")
    web = opened(WebSocket(hub)).connected(name)
    web.send(frame(TEXT, b"hello"))
    assert web.closed() == 1003

    def told():
        printed = hub.command("timeline", name).stdout
        return "text frame" in printed

    wait_until(told, 5, "the reason in the timeline")


def test_an_mqtt_packet_that_is_too_large_is_refused_as_over_tcp(hub, opened):
    web = opened(WebSocket(hub)).connected(unique("ws"), version=5)
    # A length of 2 MiB in its first few bytes; the frame itself is small.
    web.send(frame(BINARY, b"\x30\x80\x80\x80\x01"))
    first, body = whole(web.expect(BINARY))
    assert (first, body[0]) == (0xE0, 0x95), body
    assert web.closed() == 1000


def test_a_close_frame_is_answered_with_its_code_and_is_no_polite_goodbye(hub, opened, workshop):
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    name = unique("ws")
    watcher.subscribe(f"$aws/events/presence/disconnected/{name}")
    web = opened(WebSocket(hub)).connected(name)
    web.send(frame(CLOSE, b"\x03\xe9"))
    assert web.closed() == 1001
    assert json.loads(watcher.next().payload)["disconnectReason"] == "CONNECTION_LOST"


def test_mqtt_disconnect_is_followed_by_a_normal_close(web):
    web.send(frame(BINARY, raw.packet(0xE0, b"")))
    assert web.closed() == 1000


def test_a_silent_client_is_closed_at_half_again_its_keep_alive(hub, opened):
    web = opened(WebSocket(hub)).connected(unique("ws"), keep_alive=1)
    started = time.monotonic()
    # Pings of the WebSocket are no packets of MQTT.
    web.send(frame(PING, b"here"))
    assert web.expect(PONG) == b"here"
    assert web.closed() == 1000
    assert 1.0 < time.monotonic() - started < 4.0


def test_a_hub_that_stops_says_that_it_goes_away(own_hub, opened):
    web = opened(WebSocket(own_hub)).connected("a", version=5)
    waiting = opened(WebSocket(own_hub))
    assert own_hub.stop() == 0
    first, body = whole(web.expect(BINARY))
    assert (first, body[0]) == (0xE0, 0x8B), body
    assert web.closed() == 1001
    with pytest.raises((Closed, AssertionError)):
        waiting.connected("b")


def test_a_client_that_reads_nothing_costs_the_hub_little(own_hub, opened, tmp_path):
    slow = opened(WebSocket(own_hub)).connected("slow")
    slow.send(frame(BINARY, raw.subscribe("flood", 0)))
    slow.expect(BINARY)
    publisher = opened(Wire(own_hub, Workshop(own_hub, tmp_path).device()))
    publisher.connected("publisher")
    before = own_hub.resident_kilobytes()
    for _ in range(400):
        publisher.send(raw.publish("flood", bytes(100_000)))
    publisher.send(raw.publish("elsewhere", b"", 1, 1))
    publisher.expect(raw.PUBACK)
    assert own_hub.resident_kilobytes() - before < 32 * 1024
    # And it still gets what was kept for it.
    opcode, payload = slow.receive()
    assert opcode == BINARY and payload[0] == 0x30


# --- the data plane, with a device's certificate ------------------------------------------------


def https(hub, device, method, path, body=None, alpn=None):
    """One HTTPS request as a device sends it; answers status, headers and body."""
    context = raw.tls_context(hub, device)
    if alpn:
        context.set_alpn_protocols([alpn])
    stream = raw.open_tls(hub, device, hub.https_port, context)
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {hub.host}\r\n{length}Connection: close\r\n\r\n"
    stream.sendall(head.encode() + (body or b""))
    answer = b""
    while chunk := stream.recv(65536):
        answer += chunk
    stream.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


@pytest.mark.parametrize("alpn", ["x-amzn-http-ca", "http/1.1", None])
def test_a_device_publishes_over_https(hub, workshop, opened, alpn):
    device = workshop.device()
    topic = f"{unique('t')}/a b"
    subscriber = opened(SdkWebSocket5(hub, unique("ws")))
    subscriber.connect()
    subscriber.subscribe(topic)
    path = f"/topics/{urllib.parse.quote(topic, safe='')}?qos=1"
    status, _, body = https(hub, device, "POST", path, b"\x00\xff", alpn)
    assert status == 200, body
    assert json.loads(body)["message"] == "OK"
    assert subscriber.next().payload == b"\x00\xff"


@pytest.mark.parametrize("name", [None, "config"])
def test_a_device_keeps_its_shadow_over_https(hub, workshop, name):
    device = workshop.device()
    path = f"/things/{device.name}/shadow" + (f"?name={name}" if name else "")
    status, _, body = https(hub, device, "GET", path, alpn="x-amzn-http-ca")
    assert status == 404, body
    wanted = json.dumps({"state": {"reported": {"fan": 1}}}).encode()
    status, _, body = https(hub, device, "POST", path, wanted, "x-amzn-http-ca")
    assert status == 200, body
    status, _, body = https(hub, device, "GET", path)
    assert json.loads(body)["state"] == {"reported": {"fan": 1}}
    status, _, body = https(hub, device, "DELETE", path)
    assert status == 200, body
    assert https(hub, device, "GET", path)[0] == 404


def test_a_devices_https_requests_are_judged_by_its_policy(hub, workshop):
    device = workshop.device(connect_and())
    for method, path, body in [
        ("POST", "/topics/a?qos=1", b"x"),
        ("GET", f"/things/{device.name}/shadow", None),
        ("POST", f"/things/{device.name}/shadow", b'{"state":{}}'),
    ]:
        status, head, _ = https(hub, device, method, path, body)
        assert status == 403, head
        assert "ForbiddenException" in head


def test_without_certificate_or_with_a_revoked_one_nothing_is_published(hub, workshop, iot):
    assert https(hub, None, "POST", "/topics/a?qos=1", b"x")[0] == 403
    device = workshop.device()
    iot.update_certificate(certificateId=device.certificate_id, newStatus="REVOKED")
    status, _, body = https(hub, device, "POST", "/topics/a?qos=1", b"x")
    assert status == 403 and b"revoked" in body.lower(), body
