"""A device connects: every client, both protocol versions, mutual TLS, nothing changed but
endpoint and root CA."""

import socket
import ssl
import time

import pytest
from awscrt import mqtt5
from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTClient

import raw
from clients import Paho, SdkMqtt5, SdkMqtt311, mosquitto
from devices import Workshop
from hub import Hub
from raw import Wire, open_tls, tls_context


def test_the_python_sdk_connects_with_mqtt_5(hub, workshop, opened):
    client = opened(SdkMqtt5(hub, workshop.device()))
    connack = client.connect()
    assert connack.reason_code == mqtt5.ConnectReasonCode.SUCCESS
    assert not connack.session_present


def test_the_python_sdk_connects_with_mqtt_311(hub, workshop, opened):
    client = opened(SdkMqtt311(hub, workshop.device()))
    assert client.connect() == {"session_present": False}


def test_the_first_python_sdk_connects(hub, workshop):
    device = workshop.device()
    client = AWSIoTMQTTClient(device.name)
    client.configureEndpoint(hub.host, hub.mqtt_port)
    client.configureCredentials(str(hub.root_ca), str(device.key), str(device.certificate))
    client.configureConnectDisconnectTimeout(10)
    assert client.connect()
    assert client.publish(f"{device.name}/hello", "hi", 1)
    assert client.disconnect()


@pytest.mark.parametrize("version", [4, 5])
def test_paho_connects(hub, workshop, opened, version):
    client = opened(Paho(hub, workshop.device(), version=version))
    assert client.connect() is False


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_pub_connects(hub, workshop, version):
    device = workshop.device()
    ended = mosquitto(
        hub, device, "mosquitto_pub", "-V", version, "-q", 1, "-t", "hello", "-m", "hi"
    )
    assert ended.returncode == 0, ended.stderr


def test_any_tls_port_speaks_mqtt(hub, workshop, opened):
    client = opened(SdkMqtt5(hub, workshop.device(), port=hub.https_port))
    assert client.connect().reason_code == mqtt5.ConnectReasonCode.SUCCESS


@pytest.mark.parametrize("protocol", ["x-amzn-mqtt-ca", None])
def test_alpn_names_mqtt_and_its_absence_is_no_hindrance(hub, workshop, opened, protocol):
    device = workshop.device()
    context = tls_context(hub, device)
    if protocol:
        context.set_alpn_protocols([protocol])
    wire = opened(Wire(hub, device, port=hub.https_port, context=context))
    assert wire.socket.selected_alpn_protocol() == protocol
    assert wire.connected(device.name) is False


def test_alpn_names_https(hub, workshop, opened):
    context = tls_context(hub, workshop.device())
    context.set_alpn_protocols(["x-amzn-http-ca"])
    stream = opened(open_tls(hub, port=hub.mqtt_port, context=context))
    assert stream.selected_alpn_protocol() == "x-amzn-http-ca"
    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert stream.recv(15).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(hub, workshop, opened, version):
    device = workshop.device()
    context = tls_context(hub, device)
    context.minimum_version = context.maximum_version = version
    wire = opened(Wire(hub, device, context=context))
    assert wire.connected(device.name) is False


def test_a_client_without_sni_connects(hub, workshop, opened):
    device = workshop.device()
    context = tls_context(hub, device)
    context.check_hostname = False
    plain = socket.create_connection((hub.host, hub.mqtt_port))
    stream = opened(context.wrap_socket(plain))
    stream.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05nosni")
    assert stream.recv(4) == b"\x20\x02\x00\x00"


def test_a_client_that_names_itself_nothing_is_given_a_name(hub, workshop, opened):
    device = workshop.device()
    wire = opened(Wire(hub, device))
    wire.send(raw.connect("", version=5))
    connack = wire.expect(raw.CONNACK)
    assert connack[1] == 0
    assert b"\x12\x00" in connack[2:], "the property Assigned Client Identifier, MQTT 5 3.2.2.3.7"
    old = opened(Wire(hub, device))
    assert old.connected("") is False


def test_the_keep_alive_and_the_limits_are_told_in_the_connack(hub, workshop, opened):
    client = opened(
        SdkMqtt5(
            hub,
            workshop.device(),
            keep_alive_interval_sec=65535,
            session_expiry_interval_sec=2**32 - 1,
            receive_maximum=65535,
        )
    )
    connack = client.connect()
    assert connack.receive_maximum is not None and connack.receive_maximum < 65535
    assert connack.maximum_packet_size is not None and connack.maximum_packet_size < 2**32 - 1


def test_a_second_client_of_the_same_name_takes_over(hub, workshop, opened):
    device = workshop.device()
    first = opened(SdkMqtt5(hub, device))
    first.connect()
    second = opened(SdkMqtt5(hub, device))
    second.connect()
    packet = first.disconnected()
    assert packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER


def test_a_silent_client_is_closed_at_half_again_its_keep_alive(own_hub, tmp_path, opened):
    device = Workshop(own_hub, tmp_path).device()
    wire = opened(Wire(own_hub, device))
    wire.connected(device.name, keep_alive=2)
    started = time.monotonic()
    wire.closed(seconds=30)
    assert 2.5 < time.monotonic() - started < 10


def test_the_hub_is_ready_in_under_a_second(tmp_path):
    hub = Hub(tmp_path / "hub")
    try:
        hub.start()  # makes the folder, the CA and the certificates
        hub.stop()
        started = time.monotonic()
        hub.start()
        assert time.monotonic() - started < 1
        assert hub.resident_kilobytes() < 60 * 1024
    finally:
        hub.close()


def test_sigterm_drains_and_ends_with_zero(own_hub):
    assert own_hub.stop() == 0


def test_a_port_in_use_is_one_clear_line_and_exit_code_2(tmp_path):
    taken = Hub(tmp_path / "taken")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken.mqtt_port))
        listener.listen()
        ended = taken.command(
            "up",
            "--https-port", taken.https_port,
            "--mqtt-port", taken.mqtt_port,
            "--amqp-port", taken.amqp_port,
        )
    assert ended.returncode == 2
    assert str(taken.mqtt_port) in ended.stderr
    assert not taken.data.exists(), "nothing may be half-created"
