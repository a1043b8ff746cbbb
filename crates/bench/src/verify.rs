//! How fast an export is verified: the program itself, from its start to its exit code, over files
//! on disk.
//!
//! `bench verify [--entries N] [--rounds N] [--data FOLDER]`, with the program in `SEKISHO_BIN`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tlog::{
    Algorithm, Checkpoint, Frontier, Hash, Level, Note, SignerKey, TILE_WIDTH, TileId,
    bundle::push_entry,
    merkle::{leaf_hash, root_of},
};

use crate::{
    Failure,
    ledger::{ACTORS, entry, now},
};

/// Whose log it is.
const ORIGIN: &str = "bench.example/ledger";

struct Options {
    entries: u64,
    rounds: usize,
    data: Option<PathBuf>,
}

/// Makes an export as `arguments` say, verifies it and prints the rates.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let options = parse(arguments)?;
    let program = std::env::var_os("SEKISHO_BIN").ok_or("SEKISHO_BIN names no program")?;
    let place = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let folder = place.path().join("export");
    let policy = place.path().join("policy.txt");
    let bytes = export(options.entries, &folder, &policy)?;
    println!("  entries  bytes/entry  seconds  entries/s");
    for _ in 0..options.rounds {
        let start = now();
        let status = Command::new(&program)
            .args(["ledger", "verify", "--offline"])
            .arg(&folder)
            .arg("--policy")
            .arg(&policy)
            .stdout(Stdio::null())
            .status()?;
        let seconds = start.elapsed().as_secs_f64();
        if !status.success() {
            return Err(format!("the export did not verify: {status}").into());
        }
        println!(
            "{:>9}  {:>11.0}  {seconds:>7.2}  {:>9.0}",
            options.entries,
            bytes as f64 / options.entries as f64,
            options.entries as f64 / seconds,
        );
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        entries: 1_000_000,
        rounds: 3,
        data: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--entries" => options.entries = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--data" => options.data = Some(value()?.into()),
            _ => return Err(format!("bench verify does not know `{argument}`").into()),
        }
    }
    if options.entries == 0 {
        return Err("a log of no entries says nothing about a rate".into());
    }
    Ok(options)
}

/// Writes an export and its policy; answers the bytes of its bundles.
fn export(size: u64, folder: &Path, policy: &Path) -> Result<u64, Failure> {
    let mut frontier = Frontier::new();
    let mut row = Vec::new();
    let mut bytes = 0;
    for index in 0..size.div_ceil(TILE_WIDTH) {
        let mut bundle = Vec::new();
        let first = index * TILE_WIDTH;
        let mut leaves = Vec::new();
        for number in first..size.min(first + TILE_WIDTH) {
            let mut entry = entry(number);
            entry.previous = number.checked_sub(ACTORS);
            let encoded = entry.encode()?;
            push_entry(&mut bundle, &encoded)?;
            let leaf = leaf_hash(&encoded);
            frontier.push(leaf);
            leaves.push(leaf);
        }
        bytes += bundle.len() as u64;
        write(folder, Level::Entries, index, size, &bundle)?;
        write(folder, Level::Hashes(0), index, size, &flat(&leaves))?;
        if leaves.len() as u64 == TILE_WIDTH {
            row.push(root_of(&leaves));
        }
    }
    let mut level = 1;
    while !row.is_empty() {
        let tiles = row.chunks(TILE_WIDTH as usize);
        let mut above = Vec::new();
        for (index, tile) in (0..).zip(tiles) {
            write(folder, Level::Hashes(level), index, size, &flat(tile))?;
            if tile.len() as u64 == TILE_WIDTH {
                above.push(root_of(tile));
            }
        }
        row = above;
        level += 1;
    }
    let signer = SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32])?;
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: frontier.root(),
        extensions: Vec::new(),
    };
    let note = Note {
        text: checkpoint.to_string(),
        signatures: vec![signer.sign_checkpoint(&checkpoint)],
    };
    fs::write(folder.join("checkpoint"), note.to_string())?;
    fs::write(policy, format!("log {}\nquorum none\n", signer.verifier()))?;
    Ok(bytes)
}

fn flat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn write(folder: &Path, level: Level, index: u64, size: u64, bytes: &[u8]) -> Result<(), Failure> {
    let id = TileId::in_tree(level, index, size).ok_or("there is no such tile")?;
    let path = folder.join(id.path());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, bytes)?)
}
