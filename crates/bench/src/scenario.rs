//! The workloads, each bounded in messages, connections and time.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    Failure,
    broker::{Broker, Site},
    client::{Client, Exchange, PUBACK, PUBLISH, Tls, parts, puback, publish},
    report::{Better, Figure},
};

/// Longest one run of a scenario may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Bytes of every payload.
const PAYLOAD_BYTES: usize = 256;
/// Handshakes under way at once while connections are opened.
const HANDSHAKES_AT_ONCE: usize = 32;
/// Messages that flat-out publishers may be ahead of the subscriber: below the thousand that a
/// subscriber's queue holds in either broker, so that none is dropped and both do the same work.
const AHEAD: usize = 800;
/// Unacknowledged QoS 1 messages per publisher, flat out.
const IN_FLIGHT: usize = 8;
/// Pairs of one publisher and one subscriber.
const PAIRS: usize = 1000;

type Figures<'a> = Pin<Box<dyn Future<Output = Result<Vec<Figure>, Failure>> + 'a>>;

/// A workload by name.
pub(crate) struct Scenario {
    /// What it is called on the command line and in the table.
    pub(crate) name: &'static str,
    run: for<'a> fn(&'a Broker, &'a Site) -> Figures<'a>,
}

/// Every workload, in the order they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "start",
        run: |broker, _| Box::pin(start(broker)),
    },
    Scenario {
        name: "fan-in-qos0",
        run: |broker, site| Box::pin(fan_in(broker, site)),
    },
    Scenario {
        name: "fan-out-qos0",
        run: |broker, site| Box::pin(fan_out(broker, site)),
    },
    Scenario {
        name: "pairs-qos1-paced",
        run: |broker, site| Box::pin(pairs_paced(broker, site)),
    },
    Scenario {
        name: "pairs-qos1-flat-out",
        run: |broker, site| Box::pin(pairs_flat_out(broker, site)),
    },
    Scenario {
        name: "handshake",
        run: |broker, site| Box::pin(handshakes(broker, site, Exchange::Classical)),
    },
    Scenario {
        name: "handshake-pq",
        run: |broker, site| Box::pin(handshakes(broker, site, Exchange::PostQuantum)),
    },
    Scenario {
        name: "handshake-tls12",
        run: |broker, site| Box::pin(handshakes(broker, site, Exchange::Tls12)),
    },
    Scenario {
        name: "idle",
        run: |broker, site| Box::pin(idle(broker, site)),
    },
];

impl Scenario {
    /// Runs it once against a broker that was just started.
    pub(crate) async fn run(&self, broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
        LocalSet::new()
            .run_until(async {
                timeout(DEADLINE, (self.run)(broker, site))
                    .await
                    .map_err(|_| format!("{}: not done within {DEADLINE:?}", self.name))?
            })
            .await
    }
}

/// From `exec` to the first CONNACK, and the memory of a broker that has nothing to do.
async fn start(broker: &Broker) -> Result<Vec<Figure>, Failure> {
    sleep(Duration::from_secs(1)).await;
    Ok(vec![
        cost(
            "ms from exec to first CONNACK",
            broker.started_in.as_secs_f64() * 1000.0,
        ),
        cost("MiB resident, idle", broker.resident_kib()? / 1024.0),
    ])
}

/// 100 publishers to 1 subscriber, flat out.
async fn fan_in(broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
    const PUBLISHERS: usize = 100;
    const MESSAGES: usize = 600_000;
    let tls = Tls::new(site, Exchange::Classical)?;
    let mut subscriber = Client::connect(&tls, broker.port, "sink").await?;
    subscriber.subscribe("in/#", 0).await?;
    let publishers = clients(&tls, broker.port, "source", PUBLISHERS).await?;

    let credit = Rc::new(Semaphore::new(AHEAD));
    let cost = Cost::begin(broker)?;
    let mut tasks = JoinSet::new();
    for (index, client) in publishers.into_iter().enumerate() {
        let topic = format!("in/{index}");
        tasks.spawn_local(flat_out(
            client,
            topic,
            MESSAGES / PUBLISHERS,
            Rc::clone(&credit),
        ));
    }
    let mut received = 0;
    while received < MESSAGES {
        subscriber.fill().await?;
        let mut now = 0;
        while let Some(packet) = subscriber.take() {
            if packet.kind == PUBLISH {
                now += 1;
            }
        }
        received += now;
        credit.add_permits(now);
    }
    all(tasks).await?;
    cost.per_delivery(broker, received)
}

/// 1 publisher to 1,000 subscribers, flat out.
async fn fan_out(broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
    const SUBSCRIBERS: usize = 1000;
    const MESSAGES: usize = 800;
    const MESSAGES_AHEAD: usize = 50;
    let tls = Tls::new(site, Exchange::Classical)?;
    let mut subscribers = clients(&tls, broker.port, "sink", SUBSCRIBERS).await?;
    for subscriber in &mut subscribers {
        subscriber.subscribe("out", 0).await?;
    }
    let publisher = Client::connect(&tls, broker.port, "source").await?;

    let credit = Rc::new(Semaphore::new(MESSAGES_AHEAD));
    let seen = Rc::new(Cell::new(0usize));
    let cost = Cost::begin(broker)?;
    let mut tasks = JoinSet::new();
    for mut client in subscribers {
        let (credit, seen) = (Rc::clone(&credit), Rc::clone(&seen));
        tasks.spawn_local(async move {
            let mut received = 0;
            while received < MESSAGES {
                client.fill().await?;
                while let Some(packet) = client.take() {
                    if packet.kind == PUBLISH {
                        received += 1;
                        seen.set(seen.get() + 1);
                        if seen.get() % SUBSCRIBERS == 0 {
                            credit.add_permits(1);
                        }
                    }
                }
            }
            Ok(client)
        });
    }
    tasks.spawn_local(flat_out(publisher, "out".to_owned(), MESSAGES, credit));
    all(tasks).await?;
    cost.per_delivery(broker, seen.get())
}

/// 1,000 pairs at QoS 1, 5,000 messages a second in all, evenly spread.
async fn pairs_paced(broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
    const EACH: usize = 50;
    const EVERY: Duration = Duration::from_millis(200);
    let (publishers, subscribers) = pairs(broker, site).await?;
    let epoch = Instant::now();
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(PAIRS * EACH)));
    let cost = Cost::begin(broker)?;
    let mut tasks = JoinSet::new();
    for client in subscribers {
        tasks.spawn_local(acknowledge(client, EACH, epoch, Rc::clone(&latencies)));
    }
    for (index, mut client) in publishers.into_iter().enumerate() {
        tasks.spawn_local(async move {
            let topic = format!("pair/{index}");
            let offset = EVERY.mul_f64(index as f64 / PAIRS as f64);
            let mut out = Vec::new();
            for number in 0..EACH {
                sleep_until(epoch + offset + EVERY * u32::try_from(number)?).await;
                out.clear();
                publish(&mut out, &topic, 1, packet_id(number), &stamped(epoch))?;
                client.send(&out).await?;
                acknowledged(&mut client, 1).await?;
            }
            Ok(client)
        });
    }
    all(tasks).await?;
    let mut figures = cost.per_delivery(broker, PAIRS * EACH)?;
    figures.truncate(1); // the rate is ours, not the broker's
    figures.extend(percentiles(&mut latencies.borrow_mut()));
    Ok(figures)
}

/// 1,000 pairs at QoS 1, each publisher with [`IN_FLIGHT`] messages under way.
async fn pairs_flat_out(broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
    const EACH: usize = 200;
    let (publishers, subscribers) = pairs(broker, site).await?;
    let epoch = Instant::now();
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(PAIRS * EACH)));
    let cost = Cost::begin(broker)?;
    let mut tasks = JoinSet::new();
    for client in subscribers {
        tasks.spawn_local(acknowledge(client, EACH, epoch, Rc::clone(&latencies)));
    }
    for (index, mut client) in publishers.into_iter().enumerate() {
        tasks.spawn_local(async move {
            let topic = format!("pair/{index}");
            let (mut sent, mut done) = (0, 0);
            let mut out = Vec::new();
            while done < EACH {
                out.clear();
                while sent < EACH && sent - done < IN_FLIGHT {
                    publish(&mut out, &topic, 1, packet_id(sent), &stamped(epoch))?;
                    sent += 1;
                }
                client.send(&out).await?;
                done += acknowledged(&mut client, 1).await?;
            }
            Ok(client)
        });
    }
    all(tasks).await?;
    cost.per_delivery(broker, PAIRS * EACH)
}

/// Full mutual handshakes, each with a CONNECT.
async fn handshakes(
    broker: &Broker,
    site: &Site,
    exchange: Exchange,
) -> Result<Vec<Figure>, Failure> {
    const HANDSHAKES: usize = 3000;
    let tls = Rc::new(Tls::new(site, exchange)?);
    let port = broker.port;
    let cost = Cost::begin(broker)?;
    let mut tasks = JoinSet::new();
    for lane in 0..HANDSHAKES_AT_ONCE {
        let tls = Rc::clone(&tls);
        tasks.spawn_local(async move {
            for number in (lane..HANDSHAKES).step_by(HANDSHAKES_AT_ONCE) {
                let client = Client::connect(&tls, port, &format!("storm-{number}")).await?;
                client.disconnect().await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (cpu, elapsed) = cost.so_far(broker)?;
    Ok(vec![
        self::cost(
            "ms of CPU per handshake+CONNECT",
            cpu * 1000.0 / HANDSHAKES as f64,
        ),
        rate("handshakes/s", HANDSHAKES as f64 / elapsed),
    ])
}

/// Connections that say nothing, after the broker has had time to settle.
async fn idle(broker: &Broker, site: &Site) -> Result<Vec<Figure>, Failure> {
    const CONNECTIONS: usize = 5000;
    let tls = Tls::new(site, Exchange::Classical)?;
    let before = broker.resident_kib()?;
    let connections = clients(&tls, broker.port, "idle", CONNECTIONS).await?;
    sleep(Duration::from_secs(5)).await;
    let after = broker.resident_kib()?;
    drop(connections);
    sleep(Duration::from_secs(5)).await;
    let left = broker.resident_kib()?;
    Ok(vec![
        cost(
            "KiB resident per idle connection",
            (after - before) / CONNECTIONS as f64,
        ),
        cost("MiB resident after they have left", left / 1024.0),
    ])
}

async fn pairs(broker: &Broker, site: &Site) -> Result<(Vec<Client>, Vec<Client>), Failure> {
    let tls = Tls::new(site, Exchange::Classical)?;
    let mut subscribers = clients(&tls, broker.port, "sink", PAIRS).await?;
    for (index, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.subscribe(&format!("pair/{index}"), 1).await?;
    }
    Ok((
        clients(&tls, broker.port, "source", PAIRS).await?,
        subscribers,
    ))
}

/// Opens `count` connections, a few at a time.
async fn clients(tls: &Tls, port: u16, name: &str, count: usize) -> Result<Vec<Client>, Failure> {
    let mut opened = Vec::with_capacity(count);
    while opened.len() < count {
        let batch = HANDSHAKES_AT_ONCE.min(count - opened.len());
        let connecting = (0..batch)
            .map(|index| {
                let id = format!("{name}-{}", opened.len() + index);
                Box::pin(async move { Client::connect(tls, port, &id).await })
            })
            .collect();
        for client in join(connecting).await {
            opened.push(client?);
        }
    }
    Ok(opened)
}

/// Drives all futures at once; answers their outputs in order.
async fn join<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match Pin::new(future).poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Publishes at QoS 0 as fast as credit is given, a few packets to a write.
async fn flat_out(
    mut client: Client,
    topic: String,
    messages: usize,
    credit: Rc<Semaphore>,
) -> Result<Client, Failure> {
    const TO_A_WRITE: usize = 10;
    let mut one = Vec::new();
    publish(&mut one, &topic, 0, 0, &[b'x'; PAYLOAD_BYTES])?;
    let many = one.repeat(TO_A_WRITE);
    let mut sent = 0;
    while sent < messages {
        let mut now = 1;
        credit.acquire().await?.forget();
        while now < TO_A_WRITE && sent + now < messages {
            match credit.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
            now += 1;
        }
        client.send(&many[..one.len() * now]).await?;
        sent += now;
    }
    Ok(client)
}

/// Receives `count` messages, acknowledges each, and notes how long each was under way.
async fn acknowledge(
    mut client: Client,
    count: usize,
    epoch: Instant,
    latencies: Rc<RefCell<Vec<u32>>>,
) -> Result<Client, Failure> {
    let mut received = 0;
    let mut out = Vec::new();
    while received < count {
        client.fill().await?;
        let now = epoch.elapsed();
        out.clear();
        while let Some(packet) = client.take() {
            if packet.kind != PUBLISH {
                continue;
            }
            let (packet_id, payload) = parts(&packet).ok_or("a PUBLISH cut short")?;
            puback(&mut out, packet_id);
            let stamp = payload.first_chunk().ok_or("a payload cut short")?;
            let sent = Duration::from_nanos(u64::from_be_bytes(*stamp));
            let micros = now.saturating_sub(sent).as_micros();
            latencies.borrow_mut().push(u32::try_from(micros)?);
            received += 1;
        }
        client.send(&out).await?;
    }
    Ok(client)
}

/// Waits until at least `least` PUBACKs have come; answers how many came.
async fn acknowledged(client: &mut Client, least: usize) -> Result<usize, Failure> {
    let mut count = 0;
    loop {
        while let Some(packet) = client.take() {
            if packet.kind == PUBACK {
                count += 1;
            }
        }
        if count >= least {
            return Ok(count);
        }
        client.fill().await?;
    }
}

async fn all(mut tasks: JoinSet<Result<Client, Failure>>) -> Result<(), Failure> {
    // Connections stay open until all is done: a disconnect would be counted as a cost.
    let mut open = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        open.push(done??);
    }
    Ok(())
}

/// A payload that begins with the time, in nanoseconds after `epoch`.
fn stamped(epoch: Instant) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'x'; PAYLOAD_BYTES];
    let nanos = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
    payload[..8].copy_from_slice(&nanos.to_be_bytes());
    payload
}

/// A packet id that is free again when its turn comes.
fn packet_id(number: usize) -> u16 {
    u16::try_from(number % 60_000 + 1).unwrap_or(1)
}

/// What a broker has used since a moment.
struct Cost {
    cpu: f64,
    begun: Instant,
}

impl Cost {
    fn begin(broker: &Broker) -> Result<Self, Failure> {
        Ok(Self {
            cpu: broker.cpu_seconds()?,
            begun: Instant::now(),
        })
    }

    /// Seconds of CPU, and seconds.
    fn so_far(&self, broker: &Broker) -> Result<(f64, f64), Failure> {
        Ok((
            broker.cpu_seconds()? - self.cpu,
            self.begun.elapsed().as_secs_f64(),
        ))
    }

    fn per_delivery(&self, broker: &Broker, deliveries: usize) -> Result<Vec<Figure>, Failure> {
        let (cpu, elapsed) = self.so_far(broker)?;
        Ok(vec![
            cost(
                "CPU s per million deliveries",
                cpu * 1e6 / deliveries as f64,
            ),
            rate("deliveries/s", deliveries as f64 / elapsed),
        ])
    }
}

fn percentiles(latencies: &mut [u32]) -> Vec<Figure> {
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        f64::from(
            latencies
                .get(index.min(latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0),
        )
    };
    vec![
        cost("us latency, p50", at(0.5)),
        cost("us latency, p99", at(0.99)),
    ]
}

const fn cost(what: &'static str, value: f64) -> Figure {
    Figure {
        what,
        value,
        better: Better::Less,
    }
}

const fn rate(what: &'static str, value: f64) -> Figure {
    Figure {
        what,
        value,
        better: Better::More,
    }
}
