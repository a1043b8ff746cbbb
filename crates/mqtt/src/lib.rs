//! MQTT connections: sockets joined to the sans-I/O session and the hub.
