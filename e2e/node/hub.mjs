// A hub of its own for a test file, and devices on it, made with the hub's own command line.
//
// The binary is SEKISHO_BIN, or target/release/sekisho of this checkout.

import { spawn, execFile } from "node:child_process";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const checkout = path.resolve(import.meta.dirname, "../..");
const binary = process.env.SEKISHO_BIN ?? path.join(checkout, "target/release/sekisho");
const READY_MILLISECONDS = 30_000;

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Starts a hub on free ports and waits until every listener accepts. */
export async function startHub() {
  const folder = await mkdtemp(path.join(tmpdir(), "sekisho-"));
  const data = path.join(folder, "data");
  const ready = path.join(folder, "ready");
  const [httpsPort, mqttPort, amqpPort] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(
    binary,
    ["up", "--data", data, "--https-port", httpsPort, "--mqtt-port", mqttPort,
      "--amqp-port", amqpPort, "--ready-file", ready],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => { log = (log + chunk).slice(-10_000); });
  }
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const deadline = Date.now() + READY_MILLISECONDS;
  for (;;) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`the hub did not become ready:\n${log}`);
    }
    if (await access(ready).then(() => true, () => false)) break;
    await delay(10);
  }
  const command = (...words) => run(binary, [...words, "--data", data]);
  const environment = JSON.parse((await command("env", "--format", "json")).stdout);
  const policy = path.join(folder, "policy.json");
  await writeFile(policy, JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action: "iot:*", Resource: "*" }],
  }));
  await command("policy", "create", "everything", policy);
  return {
    host: "localhost",
    mqttPort,
    httpsPort,
    environment,
    rootCa: environment.SEKISHO_ROOT_CA,
    command,
    /** Registers a device with key, certificate and a policy that allows everything. */
    async device(id) {
      const out = path.join(folder, id);
      await command("device", "add", id, "--out", out, "--policy", "everything");
      return {
        id,
        certificate: path.join(out, "device.pem"),
        key: path.join(out, "device.key"),
      };
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Messages in the order they came. */
export class Inbox {
  #messages = [];
  #waiting = [];

  put = (message) => {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#messages.push(message);
  };

  async next(milliseconds = 10_000) {
    if (this.#messages.length > 0) return this.#messages.shift();
    let timer;
    const timeout = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no message in time")), milliseconds);
    });
    const message = new Promise((resolve) => this.#waiting.push(resolve));
    try {
      return await Promise.race([message, timeout]);
    } finally {
      clearTimeout(timer);
    }
  }
}
