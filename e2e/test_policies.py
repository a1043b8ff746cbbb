"""Policies decide, and say why: a device whose policy lacks a statement is told which."""

import json
import time

import pytest
from awscrt import mqtt, mqtt5

from clients import Paho, Refused, SdkMqtt5, SdkMqtt311
from devices import arn, connect_and, policy_of, unique
from hub import wait_until

NOT_AUTHORIZED = mqtt5.PubackReasonCode.NOT_AUTHORIZED


def timeline(hub, device):
    """What `sekisho timeline` prints about a device."""
    ended = hub.command("timeline", device.name)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_mqtt_5_names_what_the_policy_lacks(hub, workshop, opened):
    device = workshop.device(connect_and(("Allow", "iot:Publish", arn("topic/pumps/*"))))
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    assert client.publish("pumps/1", b"x").reason_code in (
        mqtt5.PubackReasonCode.SUCCESS,
        mqtt5.PubackReasonCode.NO_MATCHING_SUBSCRIBERS,
    )
    puback = client.publish("valves/1", b"x")
    assert puback.reason_code == NOT_AUTHORIZED
    assert "iot:Publish" in puback.reason_string
    assert "valves/1" in puback.reason_string
    assert device.policy in puback.reason_string


def test_a_refused_subscription_is_told_why(hub, workshop, opened):
    device = workshop.device(connect_and(("Allow", "iot:Subscribe", arn("topicfilter/pumps/#"))))
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    assert client.subscribe("pumps/#")[0] == mqtt5.SubackReasonCode.GRANTED_QOS_1
    code, reason = client.subscribe("valves/#")
    assert code == mqtt5.SubackReasonCode.NOT_AUTHORIZED
    assert "topicfilter/valves/#" in reason


def test_a_refused_connect_is_told_why(hub, workshop):
    device = workshop.device(policy_of(("Allow", "iot:Connect", arn("client/someone-else"))))
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, device).connect()
    assert refused.value.code == mqtt5.ConnectReasonCode.NOT_AUTHORIZED
    assert f"client/{device.name}" in refused.value.text


def test_a_certificate_without_any_policy_may_not_connect(hub, workshop):
    device = workshop.device(document=None)
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, device).connect()
    assert refused.value.code == mqtt5.ConnectReasonCode.NOT_AUTHORIZED


def test_a_denied_311_publish_closes_and_the_timeline_says_why_within_a_second(
    hub, workshop, opened
):
    device = workshop.device(connect_and(("Allow", "iot:Publish", arn("topic/pumps/*"))))
    client = opened(Paho(hub, device, version=4))
    client.connect()
    client.client.publish("valves/1", b"x", 1)
    client.ended()
    closed = time.monotonic()
    wait_until(lambda: "valves/1" in timeline(hub, device), 1, "the denial in the timeline")
    assert time.monotonic() - closed < 1
    text = timeline(hub, device)
    assert "iot:Publish" in text
    assert "policy.no-statement" in text
    assert device.policy in text


def test_explain_names_the_nearest_miss_and_the_smallest_change(hub, workshop):
    device = workshop.device(connect_and(("Allow", "iot:Publish", arn("topic/pumps/*"))))
    allowed = hub.command("explain", "--as", device.name, "publish", "pumps/1")
    assert allowed.returncode == 0, allowed.stderr
    assert device.policy in allowed.stdout
    denied = hub.command("explain", "--as", device.name, "publish", "valves/1")
    assert denied.returncode == 1
    for part in (device.policy, "topic/pumps/*", "topic/valves/1", "iot:Publish"):
        assert part in denied.stdout + denied.stderr


def test_explain_answers_for_connect_subscribe_and_receive_too(hub, workshop):
    device = workshop.device(connect_and(("Allow", "iot:Subscribe", arn("topicfilter/a/#"))))
    for words, code in (
        (("connect",), 0),
        (("subscribe", "a/#"), 0),
        (("subscribe", "b/#"), 1),
        (("receive", "a/1"), 1),
    ):
        ended = hub.command("explain", "--as", device.name, *words)
        assert ended.returncode == code, (words, ended.stdout, ended.stderr)


def test_explain_is_machine_readable_on_request(hub, workshop):
    device = workshop.device(connect_and())
    ended = hub.command("explain", "--as", device.name, "publish", "a", "--json")
    assert ended.returncode == 1
    assert "policy.no-statement" in json.dumps(json.loads(ended.stdout))


@pytest.mark.parametrize(
    ("resource", "topic", "allowed"),
    [
        ("topic/${iot:ClientId}/state", "{name}/state", True),
        ("topic/${iot:ClientId}/state", "other/state", False),
        ("topic/${iot:Connection.Thing.ThingName}/*", "{name}/a/b", True),
        ("topic/site/${iot:Connection.Thing.Attributes[site]}", "site/kyoto", True),
        ("topic/site/${iot:Connection.Thing.Attributes[site]}", "site/nara", False),
        ("topic/x/${iot:Connection.Thing.Attributes[absent]}", "x/", False),
        ("topic/a/*", "a/b/c", True),
        ("topic/a/?", "a/b", True),
        ("topic/a/?", "a/bc", False),
        ("topic/a/+", "a/b", False),
        ("topic/${*}", "x", False),
    ],
)
def test_variables_and_wildcards_resolve(hub, workshop, opened, resource, topic, allowed):
    device = workshop.device(
        connect_and(("Allow", "iot:Publish", arn(resource))), attributes={"site": "kyoto"}
    )
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    puback = client.publish(topic.format(name=device.name), b"x")
    assert (puback.reason_code != NOT_AUTHORIZED) == allowed, puback.reason_string


def test_an_explicit_deny_beats_every_allow(hub, workshop, opened):
    device = workshop.device(
        connect_and(
            ("Allow", "iot:*", "*"), ("Deny", "iot:Publish", arn("topic/secret/*"))
        )
    )
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    assert client.publish("open/1", b"x").reason_code != NOT_AUTHORIZED
    puback = client.publish("secret/1", b"x")
    assert puback.reason_code == NOT_AUTHORIZED
    assert "explicitly denied" in puback.reason_string


def test_a_condition_on_the_thing_being_attached_holds(hub, workshop, opened):
    statement = {
        "Effect": "Allow",
        "Action": "iot:Connect",
        "Resource": "*",
        "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}},
    }
    device = workshop.device(policy_of(statement))
    opened(SdkMqtt5(hub, device)).connect()
    with pytest.raises(Refused):
        SdkMqtt5(hub, device, client_id=unique("stranger")).connect()


def test_a_message_the_policy_does_not_let_in_is_not_delivered(hub, workshop, opened):
    topic = unique("t")
    device = workshop.device(
        connect_and(
            ("Allow", "iot:Subscribe", "*"), ("Allow", "iot:Receive", arn(f"topic/{topic}/yes"))
        )
    )
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    client.subscribe(f"{topic}/#")
    publisher = opened(SdkMqtt5(hub, workshop.device()))
    publisher.connect()
    publisher.publish(f"{topic}/no", b"no")
    publisher.publish(f"{topic}/yes", b"yes")
    assert client.next().payload == b"yes"
    client.inbox.nothing(0.2)


def test_retaining_needs_a_right_of_its_own(hub, workshop, opened):
    device = workshop.device(connect_and(("Allow", "iot:Publish", "*")))
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    puback = client.publish(unique("t"), b"x", retain=True)
    assert puback.reason_code == NOT_AUTHORIZED
    assert "iot:RetainPublish" in puback.reason_string


def test_a_condition_forbids_wills(hub, workshop, opened):
    statement = {
        "Effect": "Deny",
        "Action": "iot:Connect",
        "Resource": "*",
        "Condition": {"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}},
    }
    device = workshop.device(policy_of(("Allow", "iot:*", "*"), statement))
    plain = opened(Paho(hub, device))
    plain.connect()
    with pytest.raises(Refused):
        Paho(hub, device, will={"topic": "w", "payload": b"x"}).connect()


def test_a_policy_on_a_group_counts_for_its_things(hub, workshop, opened, iot):
    group = unique("group")
    iot.create_thing_group(thingGroupName=group)
    arn_of_group = iot.describe_thing_group(thingGroupName=group)["thingGroupArn"]
    iot.attach_policy(
        policyName=workshop.policy(policy_of(("Allow", "iot:Publish", arn("topic/shared/*")))),
        target=arn_of_group,
    )
    device = workshop.device(connect_and())
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    assert client.publish("shared/1", b"x").reason_code == NOT_AUTHORIZED
    iot.add_thing_to_thing_group(thingGroupName=group, thingName=device.name)
    wait_until(
        lambda: client.publish("shared/1", b"x").reason_code != NOT_AUTHORIZED,
        1,
        "the group's policy in the live session",
    )


def test_a_new_default_version_acts_on_a_live_session_within_a_second(hub, workshop, opened, iot):
    device = workshop.device(connect_and())
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    assert client.publish("a/1", b"x").reason_code == NOT_AUTHORIZED
    iot.create_policy_version(
        policyName=device.policy,
        policyDocument=json.dumps(connect_and(("Allow", "iot:Publish", arn("topic/a/*")))),
        setAsDefault=True,
    )
    wait_until(
        lambda: client.publish("a/1", b"x").reason_code != NOT_AUTHORIZED,
        1,
        "the new version in the live session",
    )


def test_a_policy_that_is_no_policy_is_refused_by_name(iot):
    for document in ("{", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'):
        with pytest.raises(iot.exceptions.MalformedPolicyException) as malformed:
            iot.create_policy(policyName=unique("bad"), policyDocument=document)
        assert malformed.value.response["Error"]["Message"]


def test_test_authorization_agrees_with_what_happens(hub, workshop, iot):
    device = workshop.device(
        connect_and(
            ("Allow", "iot:Publish", arn("topic/a/*")), ("Deny", "iot:Publish", arn("topic/a/no"))
        )
    )
    results = iot.test_authorization(
        principal=device.certificate_arn,
        clientId=device.name,
        authInfos=[
            {
                "actionType": "PUBLISH",
                "resources": [f"arn:aws:iot:us-east-1:000000000000:topic/{topic}"],
            }
            for topic in ("a/yes", "a/no", "b")
        ],
    )["authResults"]
    decisions = [result["authDecision"] for result in results]
    assert decisions == ["ALLOWED", "EXPLICIT_DENY", "IMPLICIT_DENY"]
    assert results[0]["allowed"]["policies"][0]["policyName"] == device.policy


def test_effective_policies_list_what_counts(workshop, iot):
    device = workshop.device()
    effective = iot.get_effective_policies(
        principal=device.certificate_arn, thingName=device.name
    )["effectivePolicies"]
    assert [policy["policyName"] for policy in effective] == [device.policy]


def test_a_denied_subscription_over_311_is_refused_and_explained(hub, workshop, opened):
    device = workshop.device(connect_and(("Allow", "iot:Subscribe", arn("topicfilter/a"))))
    client = opened(SdkMqtt311(hub, device))
    client.connect()
    with pytest.raises(mqtt.SubscribeError):
        client.subscribe("forbidden")
    wait_until(
        lambda: "topicfilter/forbidden" in timeline(hub, device), 1, "the denial in the timeline"
    )
