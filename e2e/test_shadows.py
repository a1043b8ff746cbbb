"""Device shadows as devices and applications use them: the SDK's shadow clients over MQTT 5 and
3.1.1, boto3 over HTTPS, and both seeing one another."""

import json

import pytest
from awscrt import mqtt, mqtt5, mqtt_request_response
from awsiot import ServiceStreamOptions, V2ServiceException, iotshadow
from botocore.exceptions import ClientError

from clients import PATIENCE, Inbox, SdkMqtt5, SdkMqtt311
from devices import Workshop, arn, connect_and


@pytest.fixture
def device(workshop):
    return workshop.device()


@pytest.fixture
def client(hub, device, opened):
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    return client


@pytest.fixture
def shadows(client):
    """The SDK's request-response shadow client over MQTT 5."""
    return iotshadow.IotShadowClientV2(
        client.client,
        mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=4, max_streaming_subscriptions=4
        ),
    )


def update(device, state, name=None, **fields):
    values = {"thing_name": device.name, "state": iotshadow.ShadowState(**state)} | fields
    if name is None:
        return iotshadow.UpdateShadowRequest(**values)
    return iotshadow.UpdateNamedShadowRequest(shadow_name=name, **values)


def test_the_classic_shadow_is_written_read_and_deleted(device, shadows):
    written = shadows.update_shadow(
        update(device, {"desired": {"fan": 2}, "reported": {"fan": 1, "rpm": 900}})
    ).result(PATIENCE)
    assert written.version == 1
    assert written.state.desired == {"fan": 2}
    read = shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=device.name)).result(PATIENCE)
    assert read.version == 1
    assert read.state.reported == {"fan": 1, "rpm": 900}
    assert read.state.delta == {"fan": 2}
    assert read.metadata.desired["fan"]["timestamp"] > 1_600_000_000
    shadows.delete_shadow(iotshadow.DeleteShadowRequest(thing_name=device.name)).result(PATIENCE)
    with pytest.raises(V2ServiceException) as refused:
        shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=device.name)).result(PATIENCE)
    assert refused.value.modeled_error.code == 404


def test_named_shadows_stand_beside_one_another(device, shadows, iot_data):
    for name in ("config", "network"):
        shadows.update_named_shadow(update(device, {"desired": {"from": name}}, name)).result(
            PATIENCE
        )
    for name in ("config", "network"):
        read = shadows.get_named_shadow(
            iotshadow.GetNamedShadowRequest(thing_name=device.name, shadow_name=name)
        ).result(PATIENCE)
        assert read.state.desired == {"from": name}
    listed = iot_data.list_named_shadows_for_thing(thingName=device.name)
    assert sorted(listed["results"]) == ["config", "network"]
    shadows.delete_named_shadow(
        iotshadow.DeleteNamedShadowRequest(thing_name=device.name, shadow_name="config")
    ).result(PATIENCE)
    listed = iot_data.list_named_shadows_for_thing(thingName=device.name)
    assert listed["results"] == ["network"]


def test_a_device_is_told_the_delta_and_watchers_the_documents(device, shadows):
    deltas, documents = Inbox(), Inbox()
    subscribed = Inbox()

    def options(inbox):
        return ServiceStreamOptions(
            incoming_event_listener=inbox.put, subscription_status_listener=subscribed.put
        )

    streams = [
        shadows.create_shadow_delta_updated_stream(
            iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=device.name),
            options(deltas),
        ),
        shadows.create_shadow_updated_stream(
            iotshadow.ShadowUpdatedSubscriptionRequest(thing_name=device.name),
            options(documents),
        ),
    ]
    for stream in streams:
        stream.open()
        subscribed.next()
    shadows.update_shadow(update(device, {"reported": {"fan": 1, "lamp": "on"}})).result(PATIENCE)
    assert documents.next().current.state.reported == {"fan": 1, "lamp": "on"}
    shadows.update_shadow(update(device, {"desired": {"fan": 2, "lamp": "on"}})).result(PATIENCE)
    delta = deltas.next()
    assert delta.state == {"fan": 2}
    assert delta.version == 2
    document = documents.next()
    assert (document.previous.version, document.current.version) == (1, 2)
    assert document.current.state.desired == {"fan": 2, "lamp": "on"}
    shadows.update_shadow(update(device, {"reported": {"fan": 2}})).result(PATIENCE)
    documents.next()
    deltas.nothing(0.3)


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"{", 400, "Invalid JSON"),
        (b"{}", 400, "Missing required node: state"),
        (b'{"state": 1}', 400, "State node must be an object"),
        (b'{"state": {"desired": 1}}', 400, "Desired node must be an object"),
        (b'{"state": {"reported": []}}', 400, "Reported node must be an object"),
        (b'{"state": {}, "version": "x"}', 400, "Invalid version"),
        (b'{"state": {}, "clientToken": 7}', 400, "Invalid clientToken"),
        (
            b'{"state": {"desired": {"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}}}',
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (b'{"state": {"desired": {"a": [null]}}}', 400, "State contains an invalid node"),
        (
            b'{"state": {"desired": {"a": "' + b"x" * 9000 + b'"}}}',
            413,
            "The payload exceeds the maximum size allowed",
        ),
    ],
)
def test_a_bad_update_is_rejected_with_the_codes_devices_know(
    client, device, payload, code, message
):
    prefix = f"$aws/things/{device.name}/shadow/update"
    client.subscribe(f"{prefix}/rejected")
    client.publish(prefix, payload)
    rejected = json.loads(client.next().payload)
    assert (rejected["code"], rejected["message"]) == (code, message)


def test_a_stale_version_conflicts_and_the_token_comes_back(client, device):
    prefix = f"$aws/things/{device.name}/shadow/update"
    client.subscribe(f"{prefix}/+")
    client.publish(prefix, b'{"state": {"desired": {"a": 1}}}')
    seen = {client.next().topic.rsplit("/", 1)[1] for _ in range(3)}
    assert seen == {"accepted", "documents", "delta"}
    client.publish(prefix, b'{"state": {"desired": {"a": 2}}, "version": 9, "clientToken": "t1"}')
    message = client.next()
    assert message.topic.endswith("/rejected")
    rejected = json.loads(message.payload)
    assert rejected["code"] == 409
    assert rejected["message"] == "Version conflict"
    assert rejected["clientToken"] == "t1"


def test_null_deletes_a_key_and_a_whole_section(device, iot_data):
    def write(state):
        answer = iot_data.update_thing_shadow(
            thingName=device.name, payload=json.dumps({"state": state})
        )
        return json.loads(answer["payload"].read())

    def read():
        answer = iot_data.get_thing_shadow(thingName=device.name)
        return json.loads(answer["payload"].read())

    write({"desired": {"a": 1, "b": {"c": 1, "d": 2}}, "reported": {"a": 1}})
    write({"desired": {"a": None, "b": {"c": None}}})
    assert read()["state"]["desired"] == {"b": {"d": 2}}
    write({"desired": None})
    document = read()
    assert "desired" not in document["state"]
    assert document["state"]["reported"] == {"a": 1}
    assert document["version"] == 3


def test_an_http_update_tells_mqtt_subscribers(client, device, iot_data):
    prefix = f"$aws/things/{device.name}/shadow/update"
    client.subscribe(f"{prefix}/#")
    iot_data.update_thing_shadow(
        thingName=device.name, payload=b'{"state": {"desired": {"fan": 3}}}'
    )
    messages = [client.next() for _ in range(3)]
    by_kind = {message.topic.removeprefix(prefix): message.payload for message in messages}
    assert set(by_kind) == {"/accepted", "/delta", "/documents"}
    assert json.loads(by_kind["/delta"])["state"] == {"fan": 3}


def test_the_request_itself_reaches_subscribers_too(hub, workshop, client, device, opened):
    watcher = opened(SdkMqtt5(hub, workshop.device()))
    watcher.connect()
    topic = f"$aws/things/{device.name}/shadow/update"
    watcher.subscribe(topic)
    client.publish(topic, b'{"state": {"reported": {"a": 1}}}')
    assert watcher.next().payload == b'{"state": {"reported": {"a": 1}}}'


@pytest.mark.parametrize("name", [None, "config"])
def test_http_errors_are_boto_exceptions(device, iot_data, name):
    which = {"thingName": device.name} | ({"shadowName": name} if name else {})
    with pytest.raises(iot_data.exceptions.ResourceNotFoundException) as missing:
        iot_data.get_thing_shadow(**which)
    assert "No shadow exists with name" in str(missing.value)
    iot_data.update_thing_shadow(**which, payload=b'{"state": {"desired": {"a": 1}}}')
    with pytest.raises(iot_data.exceptions.ConflictException):
        iot_data.update_thing_shadow(**which, payload=b'{"state": {}, "version": 7}')
    with pytest.raises(iot_data.exceptions.InvalidRequestException) as invalid:
        iot_data.update_thing_shadow(**which, payload=b'{"state": 1}')
    assert "State node must be an object" in str(invalid.value)
    with pytest.raises(ClientError) as large:
        iot_data.update_thing_shadow(
            **which, payload=json.dumps({"state": {"desired": {"a": "x" * 9000}}})
        )
    assert large.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    answer = iot_data.delete_thing_shadow(**which)
    assert json.loads(answer["payload"].read())["version"] == 1


def test_a_version_goes_on_after_a_deletion(device, iot_data):
    def write():
        answer = iot_data.update_thing_shadow(
            thingName=device.name, payload=b'{"state": {"desired": {"a": 1}}}'
        )
        return json.loads(answer["payload"].read())["version"]

    assert write() == 1
    iot_data.delete_thing_shadow(thingName=device.name)
    assert write() > 1


def test_the_shadow_client_of_mqtt_311_works(hub, device, opened):
    client = opened(SdkMqtt311(hub, device))
    client.connect()
    shadow = iotshadow.IotShadowClient(client.connection)
    accepted, deltas = Inbox(), Inbox()
    qos = mqtt.QoS.AT_LEAST_ONCE
    for future, _ in (
        shadow.subscribe_to_update_named_shadow_accepted(
            iotshadow.UpdateNamedShadowSubscriptionRequest(
                thing_name=device.name, shadow_name="config"
            ),
            qos,
            accepted.put,
        ),
        shadow.subscribe_to_named_shadow_delta_updated_events(
            iotshadow.NamedShadowDeltaUpdatedSubscriptionRequest(
                thing_name=device.name, shadow_name="config"
            ),
            qos,
            deltas.put,
        ),
    ):
        future.result(PATIENCE)
    shadow.publish_update_named_shadow(
        update(device, {"desired": {"interval": 30}}, "config", client_token="one"), qos
    ).result(PATIENCE)
    assert accepted.next().client_token == "one"
    assert deltas.next().state == {"interval": 30}


def test_a_shadow_survives_a_restart(own_hub, tmp_path):
    device = Workshop(own_hub, tmp_path).device()
    data = own_hub.boto("iot-data")
    data.update_thing_shadow(
        thingName=device.name, shadowName="kept", payload=b'{"state": {"reported": {"a": 1}}}'
    )
    own_hub.kill()
    own_hub.start()
    answer = data.get_thing_shadow(thingName=device.name, shadowName="kept")
    assert json.loads(answer["payload"].read())["state"] == {"reported": {"a": 1}}


def test_qos_1_reason_codes_tell_a_device_without_the_right(hub, workshop, opened):
    device = workshop.device(connect_and(("Allow", "iot:Publish", arn("topic/other/*"))))
    client = opened(SdkMqtt5(hub, device))
    client.connect()
    puback = client.publish(f"$aws/things/{device.name}/shadow/update", b'{"state":{}}')
    assert puback.reason_code == mqtt5.PubackReasonCode.NOT_AUTHORIZED
