//! What the ledger keeps up with: entries appended through the store, on a real disk.
//!
//! `bench ledger [--writers N,…] [--seconds S] [--data FOLDER] [--rate R]`. Every writer appends one
//! entry, waits until it is durable, and appends the next.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ledger::{Actor, ActorKind, Change, Digest, Entry, EntryView, Identity, Object, Verb};
use model::Timestamp;
use store::{Failure as StoreFailure, Store};
use tlog::{Algorithm, SignerKey};

use crate::Failure;

/// Whose log it is.
const ORIGIN: &str = "bench.example/ledger";
/// Objects that entries are about.
const DEVICES: u64 = 100_000;
/// Actors: most deeds of a large fleet are those of a few programs.
pub(crate) const ACTORS: u64 = 20;
/// Time before figures are taken.
const WARM_UP: Duration = Duration::from_secs(1);

struct Options {
    writers: Vec<usize>,
    seconds: u64,
    data: Option<PathBuf>,
    /// Entries per second of all writers together; as many as can be unless told.
    rate: Option<f64>,
}

/// Runs the scenario as `arguments` say and prints a table.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let options = parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (bytes, nanos) = reading()?;
    println!("reading an entry of {bytes} bytes takes {nanos:.0} ns");
    println!(
        "writers  entries/s  p50 ms  p99 ms  max ms  behind at the end  caught up in s  bytes"
    );
    for writers in &options.writers {
        let measured = runtime.block_on(measure(&options, *writers))?;
        println!("{measured}");
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        writers: vec![64, 128, 256, 512],
        seconds: 5,
        data: None,
        rate: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--writers" => {
                options.writers = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?;
            }
            "--seconds" => options.seconds = value()?.parse()?,
            "--rate" => options.rate = Some(value()?.parse()?),
            "--data" => options.data = Some(value()?.into()),
            _ => return Err(format!("bench ledger does not know `{argument}`").into()),
        }
    }
    Ok(options)
}

async fn measure(options: &Options, writers: usize) -> Result<String, Failure> {
    let place = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let store = Arc::new(Store::open(place.path())?);
    let signer = SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32])?;
    store.ledger().start(ORIGIN, vec![Arc::new(signer)])?;
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicU64::new(0));
    let step = options
        .rate
        .map(|rate| Duration::from_secs_f64(writers as f64 / rate));
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, number) = (Arc::clone(&store), Arc::clone(&number));
            let (counting, stop) = (Arc::clone(&counting), Arc::clone(&stop));
            #[expect(clippy::disallowed_methods, reason = "a tool that ends with its tasks")]
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut due = tokio::time::Instant::now()
                    + step
                        .unwrap_or_default()
                        .mul_f64(writer as f64 / writers as f64);
                while !stop.load(Ordering::Relaxed) {
                    if let Some(step) = step {
                        // One that is late catches up as fast as it can.
                        tokio::time::sleep_until(due).await;
                        due += step;
                    }
                    let entry = entry(number.fetch_add(1, Ordering::Relaxed));
                    let start = now();
                    store.write(move |txn| txn.record(entry).map(drop)).await?;
                    if counting.load(Ordering::Relaxed) {
                        times.push(start.elapsed());
                    }
                }
                Ok::<_, StoreFailure>(times)
            })
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let transactions = store.transactions();
    let busy = busy()?;
    counting.store(true, Ordering::Relaxed);
    let start = now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let elapsed = start.elapsed();
    let busy_after = self::busy()?;
    let transactions = store.transactions() - transactions;
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let recorded = store.ledger().recorded();
    let behind = recorded - store.ledger().size();
    let start = now();
    let signed = match store.ledger().latest() {
        Some(signed) if signed.checkpoint.size == recorded => signed,
        _ => store.ledger().changed(recorded - 1).await,
    };
    let caught_up = start.elapsed();
    let bytes = store
        .ledger()
        .entry_bytes(signed.checkpoint.size - 1)?
        .map_or(0, |entry| entry.len());
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len().saturating_sub(1)) as f64 * share;
        times
            .get(place as usize)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3
    };
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    let mut threads: BTreeMap<&str, f64> = BTreeMap::new();
    for (thread, (name, nanos)) in &busy_after {
        let before = busy.get(thread).map_or(0, |(_, nanos)| *nanos);
        let spent = nanos.saturating_sub(before) as f64 / 1e3 / times.len().max(1) as f64;
        *threads.entry(name).or_default() += spent;
    }
    let threads: Vec<_> = threads
        .iter()
        .filter(|(_, micros)| **micros > 0.05)
        .map(|(name, micros)| format!("{name} {micros:.1}"))
        .collect();
    let shared = times.len() as f64 / transactions.max(1) as f64;
    Ok(format!(
        "{writers:>7}  {rate:>9.0}  {:>6.1}  {:>6.1}  {:>6.1}  {behind:>17}  {:>14.2}  {bytes:>5}   {shared:.0} a transaction; CPU us an entry: {}",
        at(0.5),
        at(0.99),
        at(1.0),
        caught_up.as_secs_f64(),
        threads.join(", "),
    ))
}

/// Every thread's name and the nanoseconds it was on a CPU, by its number.
fn busy() -> Result<BTreeMap<OsString, (String, u64)>, Failure> {
    let mut threads = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?;
        let name = std::fs::read_to_string(thread.path().join("comm"))?;
        let times = std::fs::read_to_string(thread.path().join("schedstat"))?;
        let nanos = times.split(' ').next().unwrap_or_default().parse()?;
        threads.insert(thread.file_name(), (name.trim().to_owned(), nanos));
    }
    Ok(threads)
}

/// The bytes of an entry, and the nanoseconds that reading it takes.
fn reading() -> Result<(usize, f64), Failure> {
    const ROUNDS: u32 = 1_000_000;
    let bytes = entry(7).encode()?;
    let start = now();
    for _ in 0..ROUNDS {
        std::hint::black_box(EntryView::parse(std::hint::black_box(&bytes))?);
    }
    Ok((
        bytes.len(),
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS),
    ))
}

/// An entry of about 350 bytes.
pub(crate) fn entry(n: u64) -> Entry {
    let actor = Actor {
        kind: ActorKind::Operator,
        id: Identity::Pseudonym(Digest([(n % ACTORS) as u8; 32])),
        credential: Some(Digest([2; 32])),
        address: Some(Digest([3; 32])),
    };
    let mut entry = Entry::new(
        Timestamp::from_millis(1_790_000_000_000),
        actor,
        Verb::DeviceUpdate,
    );
    entry.request = Some(format!("0b5c1c3e-8a57-4d0e-9d3e-{n:012}"));
    entry.changes = vec![Change {
        object: Object {
            kind: "device".to_owned(),
            id: format!("pump-{}", n.wrapping_mul(0x9e37_79b9) % DEVICES),
            of: None,
        },
        before: Some(Digest([4; 32])),
        after: Some(Digest([5; 32])),
    }];
    entry
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
