"""What the hub itself announces: presence, subscriptions, and registry events once enabled."""

import json

import pytest

from clients import Paho, Refused, SdkMqtt5
from devices import Workshop, policy_of, unique


@pytest.fixture
def watcher(hub, workshop, opened):
    """A client that will watch the hub's own topics."""
    client = opened(SdkMqtt5(hub, workshop.device()))
    client.connect()
    return client


def event(client):
    message = client.next()
    return message.topic, json.loads(message.payload)


def test_a_connection_and_its_end_are_announced(hub, workshop, watcher):
    device = workshop.device()
    watcher.subscribe(f"$aws/events/presence/+/{device.name}")
    client = SdkMqtt5(hub, device)
    client.connect()
    topic, connected = event(watcher)
    assert topic == f"$aws/events/presence/connected/{device.name}"
    assert connected["clientId"] == device.name
    assert connected["eventType"] == "connected"
    assert connected["principalIdentifier"] == device.certificate_id
    assert connected["sessionIdentifier"]
    assert connected["ipAddress"] in ("127.0.0.1", "::1")
    assert connected["timestamp"] > 1_600_000_000_000
    client.close()
    topic, ended = event(watcher)
    assert topic == f"$aws/events/presence/disconnected/{device.name}"
    assert ended["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT"
    assert ended["clientInitiatedDisconnect"] is True
    assert ended["sessionIdentifier"] == connected["sessionIdentifier"]
    assert ended["versionNumber"] == connected["versionNumber"]


def test_a_lost_connection_is_told_from_a_polite_one(hub, workshop, watcher):
    device = workshop.device()
    watcher.subscribe(f"$aws/events/presence/disconnected/{device.name}")
    client = Paho(hub, device)
    client.connect()
    client.drop()
    _, ended = event(watcher)
    assert ended["disconnectReason"] == "CONNECTION_LOST"
    assert ended["clientInitiatedDisconnect"] is False


def test_a_takeover_names_the_duplicate_id(hub, workshop, watcher, opened):
    device = workshop.device()
    watcher.subscribe(f"$aws/events/presence/disconnected/{device.name}")
    opened(SdkMqtt5(hub, device)).connect()
    opened(SdkMqtt5(hub, device)).connect()
    assert event(watcher)[1]["disconnectReason"] == "DUPLICATE_CLIENTID"


def test_a_refused_connection_is_announced(hub, workshop, watcher):
    device = workshop.device(policy_of(("Allow", "iot:Publish", "*")))
    watcher.subscribe(f"$aws/events/presence/connect_failed/{device.name}")
    with pytest.raises(Refused):
        SdkMqtt5(hub, device).connect()
    _, failed = event(watcher)
    assert failed["connectFailureReason"] == "AUTHORIZATION_FAILED"


def test_subscriptions_are_announced(hub, workshop, watcher, opened):
    device = workshop.device()
    watcher.subscribe(f"$aws/events/subscriptions/+/{device.name}")
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    client.subscribe("a/b")
    topic, subscribed = event(watcher)
    assert topic.endswith(f"/subscribed/{device.name}")
    assert subscribed["topics"] == ["a/b"]
    client.unsubscribe("a/b")
    topic, unsubscribed = event(watcher)
    assert topic.endswith(f"/unsubscribed/{device.name}")
    assert unsubscribed["topics"] == ["a/b"]


def test_registry_events_come_once_they_are_enabled(own_hub, tmp_path, opened):
    iot = own_hub.boto("iot")
    client = opened(SdkMqtt5(own_hub, Workshop(own_hub, tmp_path).device()))
    client.connect()
    name = unique("thing")
    client.subscribe(f"$aws/events/thing/{name}/#")
    iot.create_thing(thingName=name)
    client.inbox.nothing(0.3)
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    iot.update_thing(thingName=name, attributePayload={"attributes": {"a": "1"}})
    topic, updated = event(client)
    assert topic == f"$aws/events/thing/{name}/updated"
    assert updated["eventType"] == "THING_EVENT"
    assert updated["operation"] == "UPDATED"
    assert updated["thingName"] == name
    assert updated["attributes"] == {"a": "1"}
    iot.delete_thing(thingName=name)
    assert event(client)[1]["operation"] == "DELETED"
