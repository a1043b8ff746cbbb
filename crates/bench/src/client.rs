//! An MQTT 3.1.1 client of as few instructions as possible: packets are bytes, a write may hold
//! many of them, and what is read is only taken apart as far as counting needs.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use rustls::{
    ClientConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Failure,
    broker::{HOST, Site},
};

/// Longest a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
const SUBACK: u8 = 9;

/// Which key exchange the client offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exchange {
    /// X25519 over TLS 1.3: what both brokers speak.
    Classical,
    /// X25519MLKEM768 first, over TLS 1.3: a broker without it takes X25519.
    PostQuantum,
    /// TLS 1.2.
    Tls12,
}

/// What a client needs to connect. Sessions are never resumed: every handshake is a full one.
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// The device of `site`, with the given key exchange.
    pub(crate) fn new(site: &Site, exchange: Exchange) -> Result<Self, Failure> {
        let mut provider: CryptoProvider = aws_lc_rs::default_provider();
        let mut version: &SupportedProtocolVersion = &rustls::version::TLS13;
        match exchange {
            Exchange::Classical => provider.kx_groups = vec![aws_lc_rs::kx_group::X25519],
            Exchange::PostQuantum => {}
            Exchange::Tls12 => {
                // In TLS 1.2 the groups also say which curves certificates may be on, and ours are
                // on P-256; OpenSSL refuses without it.
                provider.kx_groups =
                    vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];
                version = &rustls::version::TLS12;
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])?
            .with_root_certificates(Arc::clone(&site.roots))
            .with_client_auth_cert(site.chain.clone(), site.key.clone_key())?;
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

/// One packet, as far as the generator looks: its type and where its body lies.
pub(crate) struct Packet {
    /// The packet's type, 1 to 15.
    pub(crate) kind: u8,
    /// QoS of a PUBLISH.
    pub(crate) qos: u8,
    /// Everything after the fixed header.
    pub(crate) body: BytesMut,
}

impl Client {
    /// Connects with a clean session.
    pub(crate) async fn connect(tls: &Tls, port: u16, id: &str) -> Result<Self, Failure> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        tcp.set_nodelay(true)?;
        let handshake = tls.0.connect(ServerName::try_from(HOST)?, tcp);
        let stream = timeout(PATIENCE, handshake).await??;
        let mut client = Self {
            stream,
            buffer: BytesMut::new(),
        };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
        text(&mut body, id)?;
        let mut connect = Vec::new();
        packet(&mut connect, 0x10, &body);
        client.send(&connect).await?;
        let connack = client.expect(CONNACK).await?;
        match connack.body.get(1) {
            Some(0) => Ok(client),
            code => Err(format!("CONNACK says {code:?}").into()),
        }
    }

    /// Subscribes to one filter.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), Failure> {
        let mut body = vec![0, 1];
        text(&mut body, filter)?;
        body.push(qos);
        let mut subscribe = Vec::new();
        packet(&mut subscribe, 0x82, &body);
        self.send(&subscribe).await?;
        let suback = self.expect(SUBACK).await?;
        match suback.body.last() {
            Some(granted) if *granted == qos => Ok(()),
            code => Err(format!("SUBACK says {code:?}").into()),
        }
    }

    /// Sends bytes that are whole packets.
    pub(crate) async fn send(&mut self, packets: &[u8]) -> Result<(), Failure> {
        timeout(PATIENCE, async {
            self.stream.write_all(packets).await?;
            self.stream.flush().await
        })
        .await??;
        Ok(())
    }

    /// The next packet that is already here.
    pub(crate) fn take(&mut self) -> Option<Packet> {
        let mut length = 0usize;
        for index in 1..5 {
            let byte = *self.buffer.get(index)?;
            length |= usize::from(byte & 0x7f) << (7 * (index - 1));
            if byte & 0x80 == 0 {
                if self.buffer.len() < index + 1 + length {
                    return None;
                }
                let first = self.buffer[0];
                self.buffer.advance(index + 1);
                return Some(Packet {
                    kind: first >> 4,
                    qos: first >> 1 & 3,
                    body: self.buffer.split_to(length),
                });
            }
        }
        None
    }

    /// Waits for more bytes. An end of the stream is an error.
    pub(crate) async fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(16 * 1024);
        match timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await?? {
            0 => Err("the broker closed the connection".into()),
            _ => Ok(()),
        }
    }

    /// Says goodbye, to MQTT and to TLS.
    pub(crate) async fn disconnect(mut self) -> Result<(), Failure> {
        self.send(&[0xe0, 0]).await?;
        // The broker may have closed already, as DISCONNECT asks it to.
        drop(timeout(PATIENCE, self.stream.shutdown()).await?);
        Ok(())
    }

    async fn expect(&mut self, kind: u8) -> Result<Packet, Failure> {
        loop {
            if let Some(packet) = self.take() {
                if packet.kind == kind {
                    return Ok(packet);
                }
                return Err(format!("expected packet {kind}, got {}", packet.kind).into());
            }
            self.fill().await?;
        }
    }
}

/// Appends a PUBLISH; `packet_id` is ignored at QoS 0.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    topic: &str,
    qos: u8,
    packet_id: u16,
    payload: &[u8],
) -> Result<(), Failure> {
    let mut body = Vec::with_capacity(topic.len() + 4 + payload.len());
    text(&mut body, topic)?;
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(payload);
    packet(out, 0x30 | qos << 1, &body);
    Ok(())
}

/// Appends a PUBACK.
pub(crate) fn puback(out: &mut Vec<u8>, packet_id: [u8; 2]) {
    out.extend([0x40, 2, packet_id[0], packet_id[1]]);
}

/// A PUBLISH's packet id and payload; `None` when it is cut short.
pub(crate) fn parts(packet: &Packet) -> Option<([u8; 2], &[u8])> {
    let body = packet.body.as_ref();
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let rest = body.get(2 + topic..)?;
    if packet.qos == 0 {
        return Some(([0, 0], rest));
    }
    Some(([*rest.first()?, *rest.get(1)?], rest.get(2..)?))
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    out.extend(u16::try_from(text.len())?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}
