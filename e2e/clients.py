"""The vendors' own MQTT clients, each behind the same few verbs so that tests read alike.

`connect`, `subscribe`, `publish`, `next`, `close`. What a client cannot do it does not have.
"""

import queue
import ssl
import subprocess

import paho.mqtt.client as paho
from awscrt import auth, mqtt, mqtt5
from awsiot import mqtt5_client_builder, mqtt_connection_builder
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# Long enough for a busy machine; what must be fast is asserted by its own test.
PATIENCE = 10


class Refused(Exception):
    """The hub refused a CONNECT; `code` and `text` are what it told the client."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Inbox:
    """Messages in the order they came."""

    def __init__(self):
        self._messages = queue.Queue()

    def put(self, message):
        self._messages.put(message)

    def next(self, seconds=PATIENCE):
        """The next message; fails when none comes."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no message within {seconds} s") from None

    def nothing(self, seconds=0.5):
        """Asserts that no message comes."""
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"an unexpected message: {message}")


class SdkMqtt5:
    """`awsiotsdk`, MQTT 5, mutual TLS."""

    def __init__(self, hub, device, client_id=None, port=None, **options):
        self.inbox = Inbox()
        self._connected = queue.Queue()
        self._disconnected = queue.Queue()
        self._stopped = queue.Queue()
        self.client_id = device.name if client_id is None else client_id
        self.client = self._build(
            hub,
            device,
            port,
            endpoint=hub.host,
            ca_filepath=str(hub.root_ca),
            client_id=self.client_id,
            on_publish_received=lambda data: self.inbox.put(data.publish_packet),
            on_lifecycle_connection_success=self._connected.put,
            on_lifecycle_connection_failure=self._connected.put,
            on_lifecycle_disconnection=self._disconnected.put,
            on_lifecycle_stopped=self._stopped.put,
            # A refused client must not knock again while a test looks at the refusal.
            min_reconnect_delay_ms=60_000,
            max_reconnect_delay_ms=120_000,
            request_problem_information=True,
            **options,
        )

    def _build(self, hub, device, port, **settings):
        return mqtt5_client_builder.mtls_from_path(
            port=port or hub.mqtt_port,
            cert_filepath=str(device.certificate),
            pri_key_filepath=str(device.key),
            **settings,
        )

    def connect(self):
        """Answers the CONNACK; raises `Refused` when the hub said no."""
        self.client.start()
        outcome = self._connected.get(timeout=PATIENCE)
        if hasattr(outcome, "exception") and outcome.exception is not None:
            connack = outcome.connack_packet
            self.close()
            if connack is None:
                raise Refused(None, str(outcome.exception))
            raise Refused(connack.reason_code, connack.reason_string)
        self.negotiated = outcome.negotiated_settings
        return outcome.connack_packet

    def subscribe(self, filter, qos=1, **options):
        """Answers the SUBACK's one reason code and its reason string."""
        packet = mqtt5.SubscribePacket(
            subscriptions=[mqtt5.Subscription(topic_filter=filter, qos=mqtt5.QoS(qos), **options)]
        )
        suback = self.client.subscribe(packet).result(PATIENCE)
        return suback.reason_codes[0], suback.reason_string

    def unsubscribe(self, filter):
        packet = mqtt5.UnsubscribePacket(topic_filters=[filter])
        return self.client.unsubscribe(packet).result(PATIENCE).reason_codes[0]

    def publish(self, topic, payload, qos=1, **properties):
        """Answers the PUBACK; at QoS 0 an empty one."""
        packet = mqtt5.PublishPacket(
            topic=topic, payload=payload, qos=mqtt5.QoS(qos), **properties
        )
        return self.client.publish(packet).result(PATIENCE).puback

    def next(self, seconds=PATIENCE):
        return self.inbox.next(seconds)

    def disconnected(self, seconds=PATIENCE):
        """Waits for the connection's end; answers the DISCONNECT packet, if the hub sent one."""
        try:
            return self._disconnected.get(timeout=seconds).disconnect_packet
        except queue.Empty:
            raise AssertionError(f"still connected after {seconds} s") from None

    def close(self):
        self.client.stop(mqtt5.DisconnectPacket())
        try:
            self._stopped.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("the client did not stop") from None


class SdkMqtt311:
    """`awsiotsdk`, MQTT 3.1.1, mutual TLS."""

    def __init__(self, hub, device, client_id=None, clean_session=True, port=None, **options):
        self.inbox = Inbox()
        self.interrupted = queue.Queue()
        self.client_id = client_id or device.name
        self.connection = self._build(
            hub,
            device,
            port,
            endpoint=hub.host,
            ca_filepath=str(hub.root_ca),
            client_id=self.client_id,
            clean_session=clean_session,
            keep_alive_secs=30,
            reconnect_min_timeout_secs=60,
            reconnect_max_timeout_secs=120,
            on_connection_interrupted=lambda error, **_: self.interrupted.put(error),
            **options,
        )

    def _build(self, hub, device, port, **settings):
        return mqtt_connection_builder.mtls_from_path(
            port=port or hub.mqtt_port,
            cert_filepath=str(device.certificate),
            pri_key_filepath=str(device.key),
            **settings,
        )

    def connect(self):
        """Answers `{"session_present": bool}`; raises when the hub closed instead."""
        return self.connection.connect().result(PATIENCE)

    def subscribe(self, filter, qos=1):
        """Answers the granted QoS; 128 is a refusal, which the SDK raises."""

        def received(topic, payload, dup, qos, retain, **_):
            self.inbox.put((topic, payload))

        future, _ = self.connection.subscribe(filter, mqtt.QoS(qos), received)
        return future.result(PATIENCE)["qos"]

    def publish(self, topic, payload, qos=1, retain=False):
        future, _ = self.connection.publish(topic, payload, mqtt.QoS(qos), retain)
        return future.result(PATIENCE)

    def next(self, seconds=PATIENCE):
        return self.inbox.next(seconds)

    def close(self):
        self.connection.disconnect().result(PATIENCE)


def operator_credentials(hub):
    """The operator's access key, as the SDKs take it."""
    environment = hub.environment
    return auth.AwsCredentialsProvider.new_static(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    )


class SdkWebSocket5(SdkMqtt5):
    """`awsiotsdk`, MQTT 5 over WebSocket, signed with the operator's access key."""

    def __init__(self, hub, client_id, **options):
        super().__init__(hub, None, client_id, **options)

    def _build(self, hub, device, port, **settings):
        return mqtt5_client_builder.websockets_with_default_aws_signing(
            region=hub.environment["AWS_REGION"],
            credentials_provider=operator_credentials(hub),
            port=hub.https_port,
            **settings,
        )


class SdkWebSocket311(SdkMqtt311):
    """`awsiotsdk`, MQTT 3.1.1 over WebSocket, signed with the operator's access key."""

    def __init__(self, hub, client_id, **options):
        super().__init__(hub, None, client_id, **options)

    def _build(self, hub, device, port, **settings):
        return mqtt_connection_builder.websockets_with_default_aws_signing(
            region=hub.environment["AWS_REGION"],
            credentials_provider=operator_credentials(hub),
            port=hub.https_port,
            **settings,
        )


class Paho:
    """Eclipse paho, either version of the protocol, mutual TLS."""

    def __init__(
        self, hub, device, client_id=None, version=5, clean=True, expiry=None, will=None
    ):
        self.hub = hub
        self.inbox = Inbox()
        self._connected = queue.Queue()
        self._acknowledged = queue.Queue()
        self._subscribed = queue.Queue()
        self._ended = queue.Queue()
        self.version = version
        self.client_id = client_id or device.name
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            reconnect_on_failure=False,
            **({} if version == 5 else {"clean_session": clean}),
        )
        self.client.tls_set(
            ca_certs=str(hub.root_ca),
            certfile=str(device.certificate),
            keyfile=str(device.key),
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
        self.client.on_connect = lambda *event: self._connected.put(event[2:])
        self.client.on_message = lambda client, _, message: self.inbox.put(message)
        self.client.on_publish = lambda *event: self._acknowledged.put(event[2:])
        self.client.on_subscribe = lambda *event: self._subscribed.put(event[2:])
        self.client.on_disconnect = lambda *event: self._ended.put(event[2:])
        if will:
            self.client.will_set(**will)
        self._arguments = {"host": hub.host, "port": hub.mqtt_port, "keepalive": 60}
        if version == 5:
            self._arguments["clean_start"] = clean
            if expiry is not None:
                properties = Properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = expiry
                self._arguments["properties"] = properties

    def connect(self):
        """Answers whether the hub knew the session; raises `Refused` when it said no."""
        self.client.connect(**self._arguments)
        self.client.loop_start()
        try:
            flags, reason, properties = self._connected.get(timeout=PATIENCE)
        except queue.Empty:
            self.client.loop_stop()
            raise Refused(None, "closed without CONNACK") from None
        if reason.is_failure:
            self.client.loop_stop()
            raise Refused(reason.value, getattr(properties, "ReasonString", None))
        return flags.session_present

    def subscribe(self, filter, qos=1, **options):
        """Answers the reason code of the one filter."""
        if options:
            self.client.subscribe(filter, options=paho.SubscribeOptions(qos=qos, **options))
        else:
            self.client.subscribe(filter, qos)
        _, codes, _ = self._subscribed.get(timeout=PATIENCE)
        return codes[0].value

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        """Answers the reason code of PUBACK or PUBREC (0 at QoS 0)."""
        self.client.publish(topic, payload, qos, retain, properties)
        _, reason, _ = self._acknowledged.get(timeout=PATIENCE)
        return reason.value

    def next(self, seconds=PATIENCE):
        return self.inbox.next(seconds)

    def ended(self, seconds=PATIENCE):
        """Waits for the connection's end; answers the reason code."""
        try:
            return self._ended.get(timeout=seconds)[1].value
        except queue.Empty:
            raise AssertionError(f"still connected after {seconds} s") from None

    def drop(self):
        """Closes the socket without DISCONNECT, as a device does that loses power."""
        self.client.socket().shutdown(2)
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def mosquitto(hub, device, program, *words, client_id=None, seconds=PATIENCE):
    """Runs `mosquitto_pub` or `mosquitto_sub` as `device`; answers the ended process."""
    return subprocess.run(
        mosquitto_command(hub, device, program, *words, client_id=client_id),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def mosquitto_command(hub, device, program, *words, client_id=None):
    """The command line of a mosquitto client."""
    return [
        program,
        "-h", hub.host,
        "-p", str(hub.mqtt_port),
        "--cafile", str(hub.root_ca),
        "--cert", str(device.certificate),
        "--key", str(device.key),
        "-i", client_id or device.name,
        *map(str, words),
    ]
