//! Device shadows: one JSON document per (device, name), written by two hands.
