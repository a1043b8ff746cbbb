"""What an acknowledgement is worth: `kill -9` at any moment loses no acknowledged message.

`SEKISHO_KILL_ROUNDS` sets how many times the hub is killed under load (3 unless told).
"""

import os
import random
import shutil
import threading
import time

import pytest

import raw
from clients import Paho, SdkMqtt5
from devices import Workshop, unique
from hub import Hub
from raw import Closed, Wire

ROUNDS = int(os.environ.get("SEKISHO_KILL_ROUNDS", "3"))
WINDOW = 50


class Publisher:
    """Publishes numbered messages at one QoS as fast as the hub acknowledges them, and resumes
    after a crash as MQTT 3.1.1 §4.4 asks: what was not acknowledged is sent again."""

    def __init__(self, hub, device, topic, qos):
        self.hub, self.device, self.topic, self.qos = hub, device, topic, qos
        self.next_number = 0
        self.unacknowledged = {}  # packet id -> number, PUBLISH sent
        self.released = {}  # packet id -> number, PUBREC came, PUBREL owed
        self.acknowledged = set()  # numbers the hub has taken over
        self.wire = None

    def payload(self, number):
        return f"{self.qos}:{number}".encode()

    def connect(self):
        self.wire = Wire(self.hub, self.device)
        self.wire.connected(f"{self.device.name}-{self.qos}", clean=False)
        for packet_id, number in self.unacknowledged.items():
            self.wire.send(
                raw.publish(self.topic, self.payload(number), self.qos, packet_id, duplicate=True)
            )
        for packet_id in self.released:
            self.wire.send(raw.acknowledgement(raw.PUBREL, packet_id))

    def in_flight(self):
        return len(self.unacknowledged) + len(self.released)

    def send_one(self):
        number = self.next_number
        packet_id = number % 60_000 + 1
        self.unacknowledged[packet_id] = number
        # Before sending, which fails when the hub dies: the number is taken either way.
        self.next_number += 1
        self.wire.send(raw.publish(self.topic, self.payload(number), self.qos, packet_id))

    def receive_one(self):
        first, body = self.wire.receive()
        kind, packet_id = first >> 4, int.from_bytes(body[:2])
        if kind == raw.PUBACK:
            self.acknowledged.add(self.unacknowledged.pop(packet_id))
        elif kind == raw.PUBREC:
            if packet_id in self.unacknowledged:
                number = self.unacknowledged.pop(packet_id)
                self.acknowledged.add(number)
                self.released[packet_id] = number
            self.wire.send(raw.acknowledgement(raw.PUBREL, packet_id))
        elif kind == raw.PUBCOMP:
            self.released.pop(packet_id, None)
        else:
            raise AssertionError(f"packet type {kind}")

    def run(self, stop):
        """Publishes until `stop` or until the hub dies."""
        try:
            while not stop.is_set():
                while self.in_flight() < WINDOW:
                    self.send_one()
                self.receive_one()
        except Closed:
            pass

    def finish(self):
        """Connects again and completes every handshake that the crash cut."""
        self.connect()
        while self.in_flight():
            self.receive_one()
        self.wire.close()


class Receiver:
    """A persistent session that acknowledges what it gets, and remembers QoS 2 packet ids."""

    def __init__(self, hub, device, topic):
        self.hub, self.device, self.topic = hub, device, topic
        self.pending = set()
        self.received = {}  # payload -> times
        self.order = []
        self.wire = None

    def connect(self):
        self.wire = Wire(self.hub, self.device)
        return self.wire.connected(self.device.name, clean=False)

    def subscribe(self):
        self.wire.send(raw.subscribe(self.topic, 2))
        self.wire.expect(raw.SUBACK)

    def take(self, payload):
        self.received[payload] = self.received.get(payload, 0) + 1
        self.order.append(payload)

    def receive_one(self, seconds=raw.PATIENCE):
        first, body = self.wire.receive(seconds)
        kind = first >> 4
        if kind == raw.PUBLISH:
            _, payload, qos, packet_id, _ = raw.parse_publish(first, body)
            if qos == 1:
                self.take(payload)
                self.wire.send(raw.acknowledgement(raw.PUBACK, packet_id))
            elif qos == 2:
                if packet_id not in self.pending:
                    self.pending.add(packet_id)
                    self.take(payload)
                self.wire.send(raw.acknowledgement(raw.PUBREC, packet_id))
        elif kind == raw.PUBREL:
            packet_id = int.from_bytes(body[:2])
            self.pending.discard(packet_id)
            self.wire.send(raw.acknowledgement(raw.PUBCOMP, packet_id))

    def run(self, stop):
        """Receives until `stop` or until the hub dies."""
        while not stop.is_set():
            try:
                self.receive_one(0.2)
            except AssertionError:
                continue
            except Closed:
                return

    def drain(self, wanted, seconds):
        """Receives until every payload of `wanted` has come."""
        deadline = time.monotonic() + seconds
        missing = wanted - self.received.keys()
        while missing and time.monotonic() < deadline:
            try:
                self.receive_one(1)
            except AssertionError:
                pass
            if len(self.received) >= len(wanted):
                missing = wanted - self.received.keys()
        return wanted - self.received.keys()


@pytest.fixture
def bench(own_hub, tmp_path):
    return own_hub, Workshop(own_hub, tmp_path)


@pytest.mark.parametrize("receiver_is", ["online", "offline"])
def test_a_kill_under_load_loses_no_acknowledged_message(bench, receiver_is):
    publishers, _ = kill_under_load(*bench, receiver_is)
    assert all(len(p.acknowledged) > 10 * ROUNDS for p in publishers), "there was no load"


@pytest.mark.parametrize("receiver_is", ["online", "offline"])
def test_a_kill_under_load_repeats_no_qos_2_message(bench, receiver_is):
    _, receiver = kill_under_load(*bench, receiver_is)
    twice = [payload for payload, times in receiver.received.items() if times > 1]
    assert not [payload for payload in twice if payload[:1] == b"2"]


def kill_under_load(hub, workshop, receiver_is):
    """Kills the hub `ROUNDS` times while it is published to at QoS 1 and 2; after each, every
    acknowledged message must arrive. Answers the publishers and the receiver."""
    topic = unique("load")
    receiver = Receiver(hub, workshop.device(), topic)
    receiver.connect()
    receiver.subscribe()
    publishers = [Publisher(hub, workshop.device(), topic, qos) for qos in (1, 2)]
    dice = random.Random(20)
    for number in range(ROUNDS):
        stop = threading.Event()
        threads = [threading.Thread(target=p.run, args=(stop,)) for p in publishers]
        for publisher in publishers:
            publisher.connect()
        if receiver_is == "online":
            threads.append(threading.Thread(target=receiver.run, args=(stop,)))
        else:
            receiver.wire.close()
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.3, 1.2))
        hub.kill()
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        hub.start()
        for publisher in publishers:
            publisher.finish()
        assert receiver.connect(), "the hub forgot the session"
        wanted = {p.payload(n) for p in publishers for n in p.acknowledged}
        missing = receiver.drain(wanted, 60)
        assert not missing, (
            f"round {number}: {len(missing)} of {len(wanted)} acknowledged messages are lost, "
            f"such as {sorted(missing)[:3]}"
        )
        print(f"round {number}: {len(wanted)} acknowledged so far, none lost")
    return publishers, receiver


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_50000_acknowledged_messages_to_an_offline_session_survive(bench, end):
    hub, workshop = bench
    total = 50_000
    topic = unique("queue")
    receiver = Receiver(hub, workshop.device(), topic)
    receiver.connect()
    receiver.subscribe()
    receiver.wire.close()
    publisher = Publisher(hub, workshop.device(), topic, 1)
    publisher.connect()
    started = time.monotonic()
    while len(publisher.acknowledged) < total:
        while publisher.in_flight() < WINDOW and publisher.next_number < total:
            publisher.send_one()
        publisher.receive_one()
    print(f"{total} acknowledged in {time.monotonic() - started:.1f} s")
    getattr(hub, end)()
    hub.start()
    assert receiver.connect(), "the hub forgot the session"
    wanted = {publisher.payload(number) for number in range(total)}
    started = time.monotonic()
    missing = receiver.drain(wanted, 180)
    print(f"{len(receiver.received)} delivered in {time.monotonic() - started:.1f} s")
    assert not missing, f"{len(missing)} are lost"
    assert receiver.order[:total] == [publisher.payload(number) for number in range(total)]


def test_retained_messages_and_sessions_survive_a_kill(bench, opened):
    hub, workshop = bench
    topic = unique("kept")
    device = workshop.device()
    session = Paho(hub, device, expiry=3600)
    session.connect()
    session.subscribe(f"{topic}/+", 1)
    session.drop()
    publisher = SdkMqtt5(hub, workshop.device())
    publisher.connect()
    publisher.publish(f"{topic}/retained", b"kept", retain=True)
    hub.kill()
    publisher.close()
    hub.start()
    again = opened(Paho(hub, device, expiry=3600, clean=False))
    assert again.connect() is True
    assert again.next().payload == b"kept"
    newcomer = opened(SdkMqtt5(hub, workshop.device()))
    newcomer.connect()
    newcomer.subscribe(f"{topic}/retained")
    message = newcomer.next()
    assert (message.payload, message.retain) == (b"kept", True)


def test_an_unacknowledged_delivery_comes_again_with_its_packet_id(bench):
    hub, workshop = bench
    topic = unique("again")
    receiver = Receiver(hub, workshop.device(), topic)
    receiver.connect()
    receiver.subscribe()
    publisher = SdkMqtt5(hub, workshop.device())
    publisher.connect()
    publisher.publish(topic, b"once")
    publisher.close()
    first = raw.parse_publish(*receiver.wire.receive())
    hub.kill()
    hub.start()
    assert receiver.connect()
    again = raw.parse_publish(*receiver.wire.receive())
    assert first[:4] == again[:4], "the same message under the same packet id"
    assert again[4], "marked as a duplicate"


def test_a_qos_2_message_sent_again_after_a_kill_is_delivered_once(bench):
    hub, workshop = bench
    topic = unique("once")
    receiver = Receiver(hub, workshop.device(), topic)
    receiver.connect()
    receiver.subscribe()
    receiver.wire.close()
    publisher = Publisher(hub, workshop.device(), topic, 2)
    publisher.connect()
    publisher.send_one()
    publisher.wire.expect(raw.PUBREC)  # and the publisher forgets that it came
    hub.kill()
    hub.start()
    publisher.finish()
    receiver.connect()
    receiver.drain({publisher.payload(0)}, 10)
    with pytest.raises(AssertionError, match="no packet"):
        while True:
            receiver.receive_one(1)
    assert receiver.received == {publisher.payload(0): 1}


def test_a_packet_id_on_the_wire_is_not_given_to_another_message_after_a_kill(bench):
    """The receiver remembers ids of QoS 2 messages: a second message under one would be lost."""
    hub, workshop = bench
    topic = unique("ids")
    receiver = Receiver(hub, workshop.device(), topic)
    receiver.connect()
    receiver.subscribe()
    seen = {}

    def look(count, seconds):
        """Takes up to `count` messages without acknowledging them."""
        for _ in range(count):
            try:
                first, body = receiver.wire.receive(seconds)
            except AssertionError:
                return
            _, payload, _, packet_id, _ = raw.parse_publish(first, body)
            assert seen.setdefault(packet_id, payload) == payload, "an id was given away"

    publisher = Publisher(hub, workshop.device(), topic, 2)
    publisher.connect()
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    look(40, raw.PATIENCE)
    hub.kill()
    stop.set()
    thread.join(30)
    look_at_rest(receiver, look)
    hub.start()
    other = Publisher(hub, workshop.device(), topic, 2)
    other.payload = lambda number: f"other:{number}".encode()
    other.connect()
    for _ in range(WINDOW):
        other.send_one()
    for _ in range(WINDOW):
        other.wire.expect(raw.PUBREC)
    assert receiver.connect(), "the hub forgot the session"
    look(100, 1)


def look_at_rest(receiver, look):
    """Takes what the dead hub had still written."""
    try:
        look(100, 1)
    except Closed:
        pass


def test_a_moved_folder_opens_elsewhere(bench, tmp_path):
    hub, workshop = bench
    device = workshop.device()
    hub.stop()
    elsewhere = Hub(tmp_path / "elsewhere")
    shutil.copytree(hub.data, elsewhere.data)
    try:
        elsewhere.start()
        names = [t["thingName"] for t in elsewhere.boto("iot").list_things()["things"]]
        assert device.name in names
    finally:
        elsewhere.close()
