// MQTT over WebSocket: the JavaScript SDKs, each signing in its own way, and MQTT.js with a URL that
// a program signed, as pages in browsers do.

import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { auth, iot, mqtt, mqtt5 } from "aws-iot-device-sdk-v2";
import mqttjs from "mqtt";

import { Inbox, startHub } from "./hub.mjs";

const { device: firstSdk } = createRequire(import.meta.url)("aws-iot-device-sdk");

let hub;
before(async () => { hub = await startHub(); });
after(async () => { await hub?.stop(); });

function credentialsProvider() {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = hub.environment;
  return auth.AwsCredentialsProvider.newStatic(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY);
}

test("the second SDK speaks MQTT 5", async (t) => {
  const builder = iot.AwsIotMqtt5ClientConfigBuilder.newWebsocketMqttBuilderWithSigv4Auth(
    hub.host, { region: hub.environment.AWS_REGION, credentialsProvider: credentialsProvider() },
  );
  builder.withPort(hub.httpsPort);
  builder.withCertificateAuthorityFromPath(undefined, hub.rootCa);
  builder.withConnectProperties({ clientId: "ws-5", keepAliveIntervalSeconds: 60 });
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
  assert.equal((await outcome).connack.reasonCode, mqtt5.ConnectReasonCode.Success);
  await client.subscribe({
    subscriptions: [{ topicFilter: "ws/5/#", qos: mqtt5.QoS.AtLeastOnce }],
  });
  await client.publish({
    topicName: "ws/5/a", payload: "hello", qos: mqtt5.QoS.AtLeastOnce,
  });
  const message = await inbox.next();
  assert.equal(message.topicName, "ws/5/a");
  assert.equal(Buffer.from(message.payload).toString(), "hello");
});

test("the second SDK speaks MQTT 3.1.1", async (t) => {
  const config = iot.AwsIotMqttConnectionConfigBuilder
    .new_with_websockets({
      region: hub.environment.AWS_REGION, credentials_provider: credentialsProvider(),
    })
    .with_certificate_authority_from_path(undefined, hub.rootCa)
    .with_clean_session(true)
    .with_client_id("ws-311")
    .with_endpoint(hub.host)
    .with_port(hub.httpsPort)
    .build();
  const connection = new mqtt.MqttClient().new_connection(config);
  await connection.connect();
  t.after(() => connection.disconnect());
  const inbox = new Inbox();
  await connection.subscribe("ws/311", mqtt.QoS.AtLeastOnce, (topic, payload) => {
    inbox.put({ topic, text: Buffer.from(payload).toString() });
  });
  await connection.publish("ws/311", "hello", mqtt.QoS.AtLeastOnce);
  assert.deepEqual(await inbox.next(), { topic: "ws/311", text: "hello" });
});

test("the first SDK speaks MQTT 3.1.1", async (t) => {
  const client = firstSdk({
    protocol: "wss",
    host: hub.host,
    port: hub.httpsPort,
    region: hub.environment.AWS_REGION,
    accessKeyId: hub.environment.AWS_ACCESS_KEY_ID,
    secretKey: hub.environment.AWS_SECRET_ACCESS_KEY,
    clientId: "ws-first",
    websocketOptions: { ca: await readFile(hub.rootCa) },
  });
  t.after(() => client.end(true));
  await Promise.race([
    once(client, "connect"),
    once(client, "error").then(([error]) => { throw error; }),
  ]);
  const inbox = new Inbox();
  client.on("message", (topic, payload) => inbox.put([topic, payload.toString()]));
  await new Promise((resolve, reject) => {
    client.subscribe("ws/first/#", { qos: 1 }, (error) => (error ? reject(error) : resolve()));
  });
  client.publish("ws/first/a", "hello", { qos: 1 });
  assert.deepEqual(await inbox.next(), ["ws/first/a", "hello"]);
});

/** A URL signed as AWS's documentation shows it to authors of web pages. */
function presigned(expires = 86400, madeAt = Date.now()) {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION } = hub.environment;
  const stamp = new Date(madeAt).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/${AWS_REGION}/iotdevicegateway/aws4_request`;
  const host = `${hub.host}:${hub.httpsPort}`;
  const query = [
    "X-Amz-Algorithm=AWS4-HMAC-SHA256",
    `X-Amz-Credential=${encodeURIComponent(`${AWS_ACCESS_KEY_ID}/${scope}`)}`,
    `X-Amz-Date=${stamp}`,
    `X-Amz-Expires=${expires}`,
    "X-Amz-SignedHeaders=host",
  ].join("&");
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  const canonical = `GET\n/mqtt\n${query}\nhost:${host}\n\nhost\n${sha256("")}`;
  const toSign = `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256(canonical)}`;
  const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
  const key = scope.split("/").reduce(hmac, `AWS4${AWS_SECRET_ACCESS_KEY}`);
  return `wss://${host}/mqtt?${query}&X-Amz-Signature=${hmac(key, toSign).toString("hex")}`;
}

for (const protocolVersion of [4, 5]) {
  test(`MQTT.js with a presigned URL, version ${protocolVersion}`, async (t) => {
    const client = await mqttjs.connectAsync(presigned(), {
      clientId: `ws-mqttjs-${protocolVersion}`,
      protocolVersion,
      reconnectPeriod: 0,
      ca: await readFile(hub.rootCa),
      // What a page of that origin sends.
      wsOptions: { origin: "https://app.example" },
    });
    t.after(() => client.endAsync(true));
    const inbox = new Inbox();
    client.on("message", (topic, payload) => inbox.put([topic, payload.length]));
    for (const qos of [0, 1, 2]) {
      const [granted] = await client.subscribeAsync(`ws/js/${protocolVersion}/${qos}`, { qos });
      assert.equal(granted.qos, qos);
      await client.publishAsync(`ws/js/${protocolVersion}/${qos}`, Buffer.alloc(70_000), { qos });
      assert.deepEqual(await inbox.next(), [`ws/js/${protocolVersion}/${qos}`, 70_000]);
    }
  });
}

test("MQTT.js with an expired URL is refused", async (t) => {
  const ca = await readFile(hub.rootCa);
  const client = mqttjs.connect(presigned(60, Date.now() - 61_000), { ca, reconnectPeriod: 0 });
  t.after(() => client.end(true));
  const outcome = await Promise.race([
    once(client, "connect").then(() => "connected"),
    once(client, "close").then(() => "closed"),
  ]);
  assert.equal(outcome, "closed");
});
