// aws-iot-device-sdk-v2 for JavaScript, mutual TLS, MQTT 5 and 3.1.1: nothing changed but endpoint
// and root CA.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { iot, iotshadow, mqtt, mqtt5 } from "aws-iot-device-sdk-v2";

import { Inbox, startHub } from "./hub.mjs";

let hub;
before(async () => { hub = await startHub(); });
after(async () => { await hub?.stop(); });

/** Connects with MQTT 5, and closes when the test `t` ends, however it ends. */
async function connect5(t, device) {
  const builder = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath(
    hub.host, device.certificate, device.key,
  );
  builder.withPort(hub.mqttPort);
  builder.withCertificateAuthorityFromPath(undefined, hub.rootCa);
  builder.withConnectProperties({ clientId: device.id, keepAliveIntervalSeconds: 60 });
  const client = new mqtt5.Mqtt5Client(builder.build());
  const inbox = new Inbox();
  client.on("messageReceived", (event) => inbox.put(event.message));
  const outcome = Promise.race([
    once(client, "connectionSuccess").then(([event]) => event),
    once(client, "connectionFailure").then(([event]) => { throw event.error; }),
  ]);
  client.start();
  t.after(async () => {
    const stopped = once(client, "stopped");
    client.stop();
    await stopped;
    client.close();
  });
  const event = await outcome;
  return { client, inbox, connack: event.connack };
}

function connection311(device, inbox = new Inbox()) {
  const config = iot.AwsIotMqttConnectionConfigBuilder
    .new_mtls_builder_from_path(device.certificate, device.key)
    .with_certificate_authority_from_path(undefined, hub.rootCa)
    .with_clean_session(true)
    .with_client_id(device.id)
    .with_endpoint(hub.host)
    .with_port(hub.mqttPort)
    .build();
  return { connection: new mqtt.MqttClient().new_connection(config), inbox };
}

test("a device connects, subscribes and publishes with MQTT 5", async (t) => {
  const device = await hub.device("node-5");
  const { client, inbox, connack } = await connect5(t, device);
  assert.equal(connack.reasonCode, mqtt5.ConnectReasonCode.Success);
  const suback = await client.subscribe({
    subscriptions: [{ topicFilter: "node/5/#", qos: mqtt5.QoS.AtLeastOnce }],
  });
  assert.deepEqual(suback.reasonCodes, [mqtt5.SubackReasonCode.GrantedQoS1]);
  const puback = await client.publish({
    topicName: "node/5/hello",
    payload: JSON.stringify({ hello: 1 }),
    qos: mqtt5.QoS.AtLeastOnce,
    contentType: "application/json",
  });
  assert.equal(puback.reasonCode, mqtt5.PubackReasonCode.Success);
  const message = await inbox.next();
  assert.equal(message.topicName, "node/5/hello");
  assert.equal(message.contentType, "application/json");
  assert.deepEqual(JSON.parse(Buffer.from(message.payload).toString()), { hello: 1 });
});

test("a device connects, subscribes and publishes with MQTT 3.1.1", async (t) => {
  const device = await hub.device("node-311");
  const { connection, inbox } = connection311(device);
  await connection.connect();
  t.after(() => connection.disconnect());
  await connection.subscribe("node/311", mqtt.QoS.AtLeastOnce, (topic, payload) => {
    inbox.put({ topic, text: Buffer.from(payload).toString() });
  });
  await connection.publish("node/311", "hello", mqtt.QoS.AtLeastOnce);
  assert.deepEqual(await inbox.next(), { topic: "node/311", text: "hello" });
});

test("a device keeps its classic and a named shadow", async (t) => {
  const device = await hub.device("node-shadow");
  const { client } = await connect5(t, device);
  const shadows = iotshadow.IotShadowClientv2.newFromMqtt5(client, {
    maxRequestResponseSubscriptions: 4,
    maxStreamingSubscriptions: 2,
    operationTimeoutInSeconds: 10,
  });
  const written = await shadows.updateShadow({
    thingName: device.id,
    state: { desired: { fan: 2 }, reported: { fan: 1 } },
  });
  assert.equal(written.version, 1);
  const read = await shadows.getShadow({ thingName: device.id });
  assert.deepEqual(read.state.delta, { fan: 2 });
  await shadows.updateNamedShadow({
    thingName: device.id, shadowName: "config", state: { desired: { interval: 30 } },
  });
  const named = await shadows.getNamedShadow({ thingName: device.id, shadowName: "config" });
  assert.deepEqual(named.state.desired, { interval: 30 });
  await assert.rejects(shadows.getNamedShadow({ thingName: device.id, shadowName: "absent" }));
  shadows.close();
});

test("a second connection under one client id ends the first", async (t) => {
  const device = await hub.device("node-twice");
  const first = await connect5(t, device);
  const ended = once(first.client, "disconnection");
  await connect5(t, device);
  const [event] = await ended;
  assert.equal(event.disconnect.reasonCode, mqtt5.DisconnectReasonCode.SessionTakenOver);
});
