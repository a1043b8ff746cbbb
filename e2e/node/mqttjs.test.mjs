// MQTT.js, the client most Node programs use, over mutual TLS.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";

import mqtt from "mqtt";

import { Inbox, startHub } from "./hub.mjs";

let hub;
before(async () => { hub = await startHub(); });
after(async () => { await hub?.stop(); });

for (const protocolVersion of [4, 5]) {
  for (const qos of [0, 1, 2]) {
    test(`version ${protocolVersion} at QoS ${qos}`, async () => {
      const device = await hub.device(`mqttjs-${protocolVersion}-${qos}`);
      const client = await mqtt.connectAsync({
        protocol: "mqtts",
        host: hub.host,
        port: hub.mqttPort,
        clientId: device.id,
        protocolVersion,
        reconnectPeriod: 0,
        ca: await readFile(hub.rootCa),
        cert: await readFile(device.certificate),
        key: await readFile(device.key),
      });
      const inbox = new Inbox();
      client.on("message", (topic, payload) => inbox.put([topic, payload.toString()]));
      const [granted] = await client.subscribeAsync(`${device.id}/+`, { qos });
      assert.equal(granted.qos, qos);
      await client.publishAsync(`${device.id}/a`, "hello", { qos });
      assert.deepEqual(await inbox.next(), [`${device.id}/a`, "hello"]);
      await client.endAsync();
    });
  }
}
