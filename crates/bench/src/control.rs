//! What the ledger costs those who change the registry: the same changes, with it and without it.
//!
//! `bench control [--writers N,…] [--rounds N] [--seconds S] [--data FOLDER]`. Every writer
//! changes a device of its own, waits until that is durable, and changes it again, through the hub
//! as its protocols do but without them: what a request costs besides makes the share smaller.
//! The two take turns, and medians are printed.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hub::{
    Caller, Hub, HubConfig, InvalidPolicy, LedgerSetup, NewDevice, PolicyLanguage,
    clock::SystemClock,
};
use model::limits::Profile;
use registry::{AttributeChange, DeviceChange};
use store::Store;
use tlog::{Algorithm, Policy, SignerKey};

use crate::Failure;

/// Time before figures are taken.
const WARM_UP: Duration = Duration::from_millis(500);

struct Options {
    writers: Vec<usize>,
    rounds: usize,
    seconds: u64,
    data: Option<PathBuf>,
}

/// What one run gave.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// Changes in a second.
    rate: f64,
    /// CPU of the process for a change, in microseconds.
    cpu: f64,
    /// Half of the changes took less, in milliseconds.
    median: f64,
    /// 99 of 100 took less.
    p99: f64,
}

/// Runs the scenario as `arguments` say and prints a table.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let options = parse(arguments)?;
    println!("writers  ledger  changes/s  CPU µs/change  p50 ms  p99 ms");
    for writers in &options.writers {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            without.push(measure(&options, *writers, false)?);
            with.push(measure(&options, *writers, true)?);
        }
        let (without, with) = (medians(&without), medians(&with));
        for (name, figures) in [("off", without), ("on", with)] {
            let Figures {
                rate,
                cpu,
                median,
                p99,
            } = figures;
            println!(
                "{writers:>7}  {name:>6}  {rate:>9.0}  {cpu:>13.0}  {median:>6.2}  {p99:>6.2}"
            );
        }
        println!(
            "{:>15}: {:+.1} % changes/s, {:+.1} % CPU, {:+.1} % p50",
            "ledger",
            (with.rate / without.rate - 1.0) * 100.0,
            (with.cpu / without.cpu - 1.0) * 100.0,
            (with.median / without.median - 1.0) * 100.0,
        );
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        writers: vec![1, 16, 128],
        rounds: 5,
        seconds: 2,
        data: None,
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
            "--rounds" => options.rounds = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--data" => options.data = Some(value()?.into()),
            _ => return Err(format!("bench control does not know `{argument}`").into()),
        }
    }
    Ok(options)
}

fn medians(runs: &[Figures]) -> Figures {
    let median = |of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Figures {
        rate: median(|figures| figures.rate),
        cpu: median(|figures| figures.cpu),
        median: median(|figures| figures.median),
        p99: median(|figures| figures.p99),
    }
}

fn measure(options: &Options, writers: usize, with_ledger: bool) -> Result<Figures, Failure> {
    let place = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            let hub = open(place.path(), with_ledger).await?;
            change(&hub, writers, Duration::from_secs(options.seconds)).await
        })
}

async fn open(folder: &Path, with_ledger: bool) -> Result<Hub, Failure> {
    let store = if with_ledger {
        Store::open(folder)?
    } else {
        Store::open_without_ledger(folder)?
    };
    let clock = Arc::new(SystemClock::default());
    let (authority, _) = ca::Authority::create(hub::clock::Clock::now(&*clock))?;
    let hub = Hub::open(
        store,
        authority,
        clock,
        Arc::new(Silence),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
            require_cosigned: None,
        },
    )?;
    if with_ledger {
        let signer = SignerKey::from_seed("bench.example/ledger", Algorithm::Ed25519, &[1; 32])?;
        let policy = Policy::of_log(signer.verifier().clone());
        let setup = LedgerSetup {
            signers: vec![Arc::new(signer)],
            policy,
            policy_text: None,
            is_public: false,
            accept_clock: false,
            restored: None,
        };
        hub.begin_ledger(setup, "bench", "")
            .await
            .map_err(|refusal| refusal.to_string())?;
    }
    Ok(hub)
}

async fn change(hub: &Hub, writers: usize, length: Duration) -> Result<Figures, Failure> {
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let changes = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (hub, changes) = (hub.clone(), Arc::clone(&changes));
            let (counting, stop) = (Arc::clone(&counting), Arc::clone(&stop));
            #[expect(clippy::disallowed_methods, reason = "a tool that ends with its tasks")]
            tokio::spawn(async move {
                let operator = Caller::operator("bench", None).asking("bench".into());
                let id: model::DeviceId = format!("pump-{writer}").parse()?;
                let new = NewDevice {
                    id: id.clone(),
                    device_type: None,
                    attributes: BTreeMap::new(),
                };
                hub.create_device(&operator, new).await?;
                let mut times = Vec::new();
                let mut turn = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let attributes = [("turn".to_owned(), turn.to_string())];
                    let change = DeviceChange {
                        attributes: Some(AttributeChange::Merge(attributes.into())),
                        ..DeviceChange::default()
                    };
                    let start = now();
                    hub.update_device(&operator, &id, change).await?;
                    if counting.load(Ordering::Relaxed) {
                        times.push(start.elapsed());
                        changes.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
            })
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    counting.store(true, Ordering::Relaxed);
    let (start, cpu) = (now(), cpu_seconds()?);
    tokio::time::sleep(length).await;
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let count = changes.load(Ordering::Relaxed) as f64;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await?.map_err(|error| error.to_string())?);
    }
    times.sort_unstable();
    let at = |share: f64| {
        let place = times.len().saturating_sub(1) as f64 * share;
        let time = times.get(place as usize).copied().unwrap_or_default();
        time.as_secs_f64() * 1e3
    };
    Ok(Figures {
        rate: count / elapsed,
        cpu: cpu * 1e6 / count,
        median: at(0.5),
        p99: at(0.99),
    })
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The fields behind the name, which may hold anything; proc(5) numbers them from 3.
    let fields = stat
        .rsplit_once(')')
        .ok_or("/proc/self/stat has no name")?
        .1;
    let ticks: f64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    // Linux counts in hundredths of a second for every program.
    Ok(ticks / 100.0)
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

/// A policy language in which nothing can be said.
struct Silence;

impl policy::Spelling for Silence {
    fn action(&self, _: policy::Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: policy::Action, _: &policy::Resource<'_>) -> String {
        String::new()
    }
}

impl PolicyLanguage for Silence {
    fn parse(&self, _: &str) -> Result<policy::Document, InvalidPolicy> {
        Ok(policy::Document {
            statements: Vec::new(),
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}
