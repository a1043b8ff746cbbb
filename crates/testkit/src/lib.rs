//! Helpers for tests of the whole: a hub in process, a fake clock, raw MQTT peers.
