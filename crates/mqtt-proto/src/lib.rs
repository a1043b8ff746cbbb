//! MQTT 3.1.1 and 5.0 between bytes and packets, and a server's view of one connection; no I/O.
