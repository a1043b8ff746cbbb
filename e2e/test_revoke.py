"""Taking a right away ends the live session in under a second, and says why."""

import json
import time

import pytest
from awscrt import mqtt5

from clients import Paho, Refused, SdkMqtt5
from devices import connect_and
from hub import wait_until

PROMPT = 1.0


@pytest.fixture
def live(hub, workshop, opened):
    """A device with a live session, and a client of it."""
    device = workshop.device()
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    client.subscribe(f"{device.name}/#")
    return device, client


def ends_promptly(client, change):
    """Carries out `change`; the session must end within a second of its answer."""
    started = time.monotonic()
    change()
    packet = client.disconnected(PROMPT + 1)
    assert time.monotonic() - started < PROMPT
    return packet


@pytest.mark.parametrize("status", ["REVOKED", "INACTIVE"])
def test_a_revoked_certificate_ends_the_live_session(hub, live, iot, status):
    device, client = live
    packet = ends_promptly(
        client,
        lambda: iot.update_certificate(certificateId=device.certificate_id, newStatus=status),
    )
    assert packet is not None, "the hub said nothing"
    assert packet.reason_code == mqtt5.DisconnectReasonCode.NOT_AUTHORIZED
    assert status.lower() in packet.reason_string.lower()
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, device).connect()
    assert refused.value.code == mqtt5.ConnectReasonCode.NOT_AUTHORIZED
    assert status.lower() in refused.value.text.lower()


def test_a_reactivated_certificate_connects_again(hub, live, iot, opened):
    device, client = live
    iot.update_certificate(certificateId=device.certificate_id, newStatus="INACTIVE")
    client.disconnected()
    iot.update_certificate(certificateId=device.certificate_id, newStatus="ACTIVE")
    opened(SdkMqtt5(hub, device)).connect()


def test_a_311_session_ends_too(hub, workshop, opened, iot):
    device = workshop.device()
    client = opened(Paho(hub, device, version=4))
    client.connect()
    started = time.monotonic()
    iot.update_certificate(certificateId=device.certificate_id, newStatus="REVOKED")
    client.ended(PROMPT + 1)
    assert time.monotonic() - started < PROMPT
    wait_until(
        lambda: "revoked" in hub.command("timeline", device.name).stdout.lower(),
        PROMPT,
        "the revocation in the timeline",
    )


def test_a_detached_policy_ends_the_live_session(live, iot):
    device, client = live
    packet = ends_promptly(
        client,
        lambda: iot.detach_policy(policyName=device.policy, target=device.certificate_arn),
    )
    assert packet.reason_code == mqtt5.DisconnectReasonCode.NOT_AUTHORIZED


def test_a_policy_that_no_longer_allows_connecting_ends_the_live_session(live, iot):
    device, client = live
    nothing = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "iot:*", "Resource": "*"},
    ]}
    packet = ends_promptly(
        client,
        lambda: iot.create_policy_version(
            policyName=device.policy, policyDocument=json.dumps(nothing), setAsDefault=True
        ),
    )
    assert packet.reason_code == mqtt5.DisconnectReasonCode.NOT_AUTHORIZED


def test_a_subscription_the_policy_no_longer_allows_delivers_nothing(
    hub, live, workshop, opened, iot
):
    device, client = live
    iot.create_policy_version(
        policyName=device.policy,
        policyDocument=json.dumps(connect_and(("Allow", "iot:Publish", "*"))),
        setAsDefault=True,
    )
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    publisher.publish(f"{device.name}/x", b"late")
    client.inbox.nothing()


def test_others_are_not_disturbed(hub, workshop, opened, iot):
    victim, bystander = workshop.device(), workshop.device()
    first, second = opened(SdkMqtt5(hub, victim)), opened(SdkMqtt5(hub, bystander))
    first.connect()
    second.connect()
    iot.update_certificate(certificateId=victim.certificate_id, newStatus="REVOKED")
    first.disconnected()
    with pytest.raises(AssertionError):
        second.disconnected(0.5)
    second.publish("still/here", b"x")


def test_the_command_line_revokes_and_disables(hub, workshop, opened):
    device = workshop.device()
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    ended = hub.command("cert", "revoke", device.certificate_id)
    assert ended.returncode == 0, ended.stderr
    client.disconnected(PROMPT + 1)

    device = workshop.device()
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    ended = hub.command("device", "disable", device.name)
    assert ended.returncode == 0, ended.stderr
    client.disconnected(PROMPT + 1)
    with pytest.raises(Refused):
        SdkMqtt5(hub, device).connect()
    assert hub.command("device", "enable", device.name).returncode == 0
    opened(SdkMqtt5(hub, device)).connect()


def test_a_deleted_connection_may_come_back(hub, live, iot_data, opened):
    device, client = live
    iot_data.delete_connection(clientId=client.client_id)
    client.disconnected()
    opened(SdkMqtt5(hub, device)).connect()
