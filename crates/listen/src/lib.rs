//! Sockets and TLS: accepts peers within limits, learns what the wire proves, and routes them to services.
