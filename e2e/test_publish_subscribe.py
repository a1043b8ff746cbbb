"""Messages: every QoS, retained, wills, shared subscriptions, wildcards, expiry, HTTPS."""

import json
import subprocess
import time

import pytest
import urllib3
from awscrt import mqtt5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from clients import Paho, SdkMqtt5, SdkMqtt311, mosquitto, mosquitto_command
from devices import unique
from hub import wait_until


@pytest.fixture
def pair(hub, workshop, opened):
    """A publisher and a subscriber, connected, both `awsiotsdk` with MQTT 5."""
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    subscriber = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    subscriber.connect()
    return publisher, subscriber


@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_reaches_its_subscriber(pair, qos):
    publisher, subscriber = pair
    topic = unique("topic")
    assert subscriber.subscribe(topic, qos)[0] == qos
    puback = publisher.publish(topic, b"hi", qos)
    assert puback.reason_code == (mqtt5.PubackReasonCode.SUCCESS if qos else None)
    message = subscriber.next()
    assert (message.topic, message.payload, int(message.qos)) == (topic, b"hi", qos)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_gets_each_qos(hub, workshop, opened, version, qos):
    topic = unique("topic")
    client = opened(Paho(hub, workshop.device(), version=version))
    client.connect()
    assert client.subscribe(topic, qos) == qos
    assert client.publish(topic, b"hi", qos) == 0
    message = client.next()
    assert (message.payload, message.qos, message.retain) == (b"hi", qos, False)


def test_a_message_arrives_at_the_lower_of_the_two_qos(hub, workshop, opened):
    topic = unique("topic")
    client = opened(Paho(hub, workshop.device()))
    client.connect()
    client.subscribe(topic, 1)
    client.publish(topic, b"two", 2)
    assert client.next().qos == 1
    client.publish(topic, b"none", 0)
    assert client.next().qos == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mosquitto_publishes_to_mosquitto(hub, workshop, iot_data, qos):
    topic = unique("topic")
    receiver = workshop.device()
    receiving = subprocess.Popen(
        mosquitto_command(
            hub, receiver, "mosquitto_sub", "-q", qos, "-t", topic, "-C", 1, "-W", 20
        ),
        stdout=subprocess.PIPE,
        text=True,
    )

    def has_subscribed():
        try:
            listed = iot_data.list_subscriptions(clientId=receiver.name)
        except iot_data.exceptions.ResourceNotFoundException:
            return False
        return topic in [entry["topicFilter"] for entry in listed["subscriptions"]]

    wait_until(has_subscribed, 10, "mosquitto_sub's subscription")
    sent = mosquitto(
        hub, workshop.device(), "mosquitto_pub", "-q", qos, "-t", topic, "-m", "from mosquitto"
    )
    assert sent.returncode == 0, sent.stderr
    received, _ = receiving.communicate(timeout=25)
    assert receiving.returncode == 0
    assert "from mosquitto" in received


def test_a_message_crosses_versions_and_clients(hub, workshop, opened):
    topic = unique("topic")
    old = opened(SdkMqtt311(hub, workshop.device()))
    new = opened(SdkMqtt5(hub, workshop.device()))
    old.connect()
    new.connect()
    old.subscribe(topic)
    new.subscribe(topic)
    old.publish(topic, b"from 3.1.1")
    assert new.next().payload == b"from 3.1.1"
    assert old.next() == (topic, b"from 3.1.1")
    new.publish(topic, b"from 5")
    assert old.next() == (topic, b"from 5")


@pytest.mark.parametrize(
    ("filter", "topic", "matches"),
    [
        ("{}/+/state", "{}/pump/state", True),
        ("{}/+/state", "{}/pump/x/state", False),
        ("{}/#", "{}/pump/state", True),
        ("{}/#", "{}", True),
        ("{}/+", "{}", False),
        ("+/{}", "x/{}", True),
    ],
)
def test_wildcards_match_as_the_specification_tells(pair, filter, topic, matches):
    publisher, subscriber = pair
    name = unique("t")
    subscriber.subscribe(filter.format(name))
    publisher.publish(topic.format(name), b"hi")
    if matches:
        assert subscriber.next().payload == b"hi"
    else:
        subscriber.inbox.nothing()


def test_the_properties_of_mqtt_5_pass_through(pair):
    publisher, subscriber = pair
    topic = unique("topic")
    subscriber.subscribe(topic)
    publisher.publish(
        topic,
        b'{"a":1}',
        content_type="application/json",
        response_topic="replies/1",
        correlation_data_bytes=b"\x00\x01",
        payload_format_indicator=mqtt5.PayloadFormatIndicator.AWS_MQTT5_PFI_UTF8,
        user_properties=[mqtt5.UserProperty("a", "1"), mqtt5.UserProperty("a", "2")],
        message_expiry_interval_sec=60,
    )
    message = subscriber.next()
    assert message.content_type == "application/json"
    assert message.response_topic == "replies/1"
    assert message.correlation_data_bytes == b"\x00\x01"
    assert [(p.name, p.value) for p in message.user_properties] == [("a", "1"), ("a", "2")]
    assert message.message_expiry_interval_sec in (59, 60)


def test_no_local_keeps_a_clients_own_messages_from_it(hub, workshop, opened):
    topic = unique("topic")
    client = opened(SdkMqtt5(hub, workshop.device()))
    client.connect()
    client.subscribe(topic, no_local=True)
    client.publish(topic, b"mine")
    client.inbox.nothing()


def test_unsubscribing_ends_the_messages(pair):
    publisher, subscriber = pair
    topic = unique("topic")
    subscriber.subscribe(topic)
    assert subscriber.unsubscribe(topic) == mqtt5.UnsubackReasonCode.SUCCESS
    publisher.publish(topic, b"hi")
    subscriber.inbox.nothing()


def test_a_retained_message_waits_for_subscribers_and_an_empty_one_deletes_it(pair, iot_data):
    publisher, subscriber = pair
    topic = unique("retained")
    publisher.publish(topic, b"kept", retain=True)
    subscriber.subscribe(topic)
    message = subscriber.next()
    assert (message.payload, message.retain) == (b"kept", True)

    stored = iot_data.get_retained_message(topic=topic)
    assert stored["payload"] == b"kept"
    listed = iot_data.list_retained_messages()["retainedTopics"]
    assert topic in [entry["topic"] for entry in listed]

    publisher.publish(topic, b"", retain=True)
    assert subscriber.next().payload == b""
    subscriber.unsubscribe(topic)
    subscriber.subscribe(topic)
    subscriber.inbox.nothing()
    with pytest.raises(iot_data.exceptions.ResourceNotFoundException):
        iot_data.get_retained_message(topic=topic)


def test_a_retained_message_reaches_a_wildcard_subscription(pair):
    publisher, subscriber = pair
    topic = unique("retained")
    publisher.publish(f"{topic}/a", b"kept", retain=True)
    subscriber.subscribe(f"{topic}/+")
    assert subscriber.next().payload == b"kept"


@pytest.mark.parametrize("version", [4, 5])
def test_the_will_of_a_lost_device_is_published(hub, workshop, opened, version):
    topic = unique("will")
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    watcher.subscribe(topic)
    lost = Paho(
        hub,
        workshop.device(),
        version=version,
        will={"topic": topic, "payload": b"gone", "qos": 1, "retain": False},
    )
    lost.connect()
    lost.drop()
    assert watcher.next().payload == b"gone"


def test_the_will_of_a_device_that_says_goodbye_is_not_published(hub, workshop, opened):
    topic = unique("will")
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    watcher.subscribe(topic)
    polite = Paho(hub, workshop.device(), will={"topic": topic, "payload": b"gone", "qos": 1})
    polite.connect()
    polite.close()
    watcher.inbox.nothing()


def test_a_will_waits_for_its_delay_and_a_return_cancels_it(hub, workshop, opened):
    topic = unique("will")
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    watcher.subscribe(topic)
    device = workshop.device()
    delay = Properties(PacketTypes.WILLMESSAGE)
    delay.WillDelayInterval = 2
    will = {"topic": topic, "payload": b"gone", "qos": 1, "properties": delay}
    first = Paho(hub, device, will=will, expiry=60)
    first.connect()
    first.drop()
    watcher.inbox.nothing(1)
    second = Paho(hub, device, will=will, expiry=60, clean=False)
    assert second.connect() is True
    watcher.inbox.nothing(2)
    second.drop()
    assert watcher.next().payload == b"gone"


def test_shared_subscribers_divide_the_messages_among_them(hub, workshop, opened):
    topic, group = unique("topic"), unique("group")
    members = []
    for _ in range(3):
        member = opened(SdkMqtt5(hub, workshop.device()))
        member.connect()
        assert member.subscribe(f"$share/{group}/{topic}")[0] == 1
        members.append(member)
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    sent = [f"{number}".encode() for number in range(60)]
    for payload in sent:
        publisher.publish(topic, payload)
    received = []
    deadline = time.monotonic() + 10
    shares = [0, 0, 0]
    while len(received) < len(sent) and time.monotonic() < deadline:
        for index, member in enumerate(members):
            try:
                received.append(member.next(0.05).payload)
                shares[index] += 1
            except AssertionError:
                pass
    assert sorted(received, key=int) == sent
    for member in members:
        member.inbox.nothing(0.1)
    assert all(shares), f"one member got nothing: {shares}"


def test_a_persistent_session_gets_what_it_missed_in_order(hub, workshop, opened):
    topic = unique("topic")
    device = workshop.device()
    first = Paho(hub, device, expiry=300)
    assert first.connect() is False
    first.subscribe(topic, 1)
    first.close()
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    for number in range(20):
        publisher.publish(topic, str(number).encode())
    again = opened(Paho(hub, device, expiry=300, clean=False))
    assert again.connect() is True
    assert [int(again.next().payload) for _ in range(20)] == list(range(20))


def test_a_message_past_its_expiry_is_not_delivered(hub, workshop, opened):
    topic = unique("topic")
    device = workshop.device()
    first = Paho(hub, device, expiry=300)
    first.connect()
    first.subscribe(topic, 1)
    first.close()
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    publisher.publish(topic, b"short-lived", message_expiry_interval_sec=1)
    publisher.publish(topic, b"lasting")
    time.sleep(1.5)
    again = opened(Paho(hub, device, expiry=300, clean=False))
    again.connect()
    assert again.next().payload == b"lasting"
    again.inbox.nothing(0.3)


def test_a_clean_start_forgets_the_session(hub, workshop, opened):
    topic = unique("topic")
    device = workshop.device()
    first = Paho(hub, device, expiry=300)
    first.connect()
    first.subscribe(topic, 1)
    first.close()
    fresh = opened(Paho(hub, device, expiry=300))
    assert fresh.connect() is False
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    publisher.publish(topic, b"hi")
    fresh.inbox.nothing()


def test_an_http_publish_with_sigv4_reaches_subscribers(hub, workshop, opened, iot_data):
    topic = f"{unique('topic')}/a b"
    subscriber = opened(SdkMqtt5(hub, workshop.device()))
    subscriber.connect()
    subscriber.subscribe(topic)
    iot_data.publish(
        topic=topic,
        qos=1,
        payload=b"by http",
        contentType="text/plain",
        userProperties=json.dumps([{"a": "1"}]),
    )
    message = subscriber.next()
    assert message.payload == b"by http"
    assert message.content_type == "text/plain"
    assert [(p.name, p.value) for p in message.user_properties] == [("a", "1")]


def test_an_https_publish_with_a_device_certificate_reaches_subscribers(hub, workshop, opened):
    device = workshop.device()
    topic = unique("topic")
    subscriber = opened(SdkMqtt5(hub, workshop.device()))
    subscriber.connect()
    subscriber.subscribe(topic)
    pool = urllib3.PoolManager(
        ca_certs=str(hub.root_ca), cert_file=str(device.certificate), key_file=str(device.key)
    )
    answer = pool.request(
        "POST", f"https://{hub.host}:{hub.https_port}/topics/{topic}?qos=1", body=b"by cert"
    )
    assert answer.status == 200, answer.data
    assert answer.json()["message"] == "OK"
    assert subscriber.next().payload == b"by cert"


def test_a_connection_can_be_looked_at_and_ended_over_http(hub, workshop, opened, iot_data):
    topic = unique("topic")
    client = opened(SdkMqtt5(hub, workshop.device()))
    client.connect()
    client.subscribe(topic)
    seen = iot_data.get_connection(clientId=client.client_id)
    assert seen["connected"] is True
    subscriptions = iot_data.list_subscriptions(clientId=client.client_id)["subscriptions"]
    assert topic in [subscription["topicFilter"] for subscription in subscriptions]
    iot_data.delete_connection(clientId=client.client_id)
    assert client.disconnected() is not None


def test_the_command_line_speaks_and_listens(hub, workshop, opened):
    topic = unique("topic")
    subscriber = opened(SdkMqtt5(hub, workshop.device()))
    subscriber.connect()
    subscriber.subscribe(topic)
    ended = hub.command("publish", topic, "from the terminal")
    assert ended.returncode == 0, ended.stderr
    assert subscriber.next().payload == b"from the terminal"
