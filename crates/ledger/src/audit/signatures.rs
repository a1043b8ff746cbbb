//! The checkpoint and who signed it.

use tlog::{
    TileId, TileNodes,
    checkpoint::Checkpoint,
    merkle,
    note::Note,
    policy::{Policy, Standing, Verdict},
};

use super::{CHECKPOINT, Fault, Report, SINCE, Source, Trouble, read};

/// Reads the checkpoint and judges every signature of it. Nothing comes back unless one of the
/// policy's logs has signed it.
pub(super) fn check<S: Source>(
    source: &S,
    policy: &Policy,
    report: &mut Report,
) -> Option<Checkpoint> {
    let bytes = match read(source, CHECKPOINT) {
        Ok(bytes) => bytes,
        Err(fault) => {
            report.fault(fault);
            return None;
        }
    };
    report.count(&bytes);
    let standing = match standing(&bytes, policy) {
        Ok(standing) => standing,
        Err(trouble) => {
            report.fault(Fault::of_file(CHECKPOINT, trouble));
            return None;
        }
    };
    for trouble in troubles(&standing) {
        report.fault(Fault::of_file(CHECKPOINT, trouble));
    }
    report.witnesses = standing.witnesses().map(str::to_owned).collect();
    if standing.from_log {
        Some(standing.checkpoint)
    } else {
        report.checkpoint = Some(standing.checkpoint);
        None
    }
}

fn standing(bytes: &[u8], policy: &Policy) -> Result<Standing, Trouble> {
    Ok(policy.is_final(&Note::parse(bytes)?)?)
}

fn troubles(standing: &Standing) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (signature, verdict) in &standing.verdicts {
        let name = signature.name.clone();
        match verdict {
            Verdict::Log | Verdict::Witness { .. } => {}
            Verdict::Bad => troubles.push(Trouble::BadSignature { name }),
            // C2SP lets a verifier pass over it. But then a byte changed in it would go
            // unnoticed, and whoever keeps the files knows who signs them.
            Verdict::Unknown => troubles.push(Trouble::UnknownSignature {
                name,
                key_id: signature
                    .key_id
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            }),
        }
    }
    if !standing.from_log {
        let origin = standing.checkpoint.origin.clone();
        troubles.push(Trouble::NotFromLog { origin });
    }
    if !standing.quorum {
        troubles.push(Trouble::NoQuorum);
    }
    troubles
}

/// Checks that the log goes on from where a checkpoint from before says it was. That one must be
/// the log's own word too; who witnessed it then does not matter now.
pub(super) fn check_since<S: Source>(
    source: &S,
    since: &Note,
    policy: &Policy,
    now: &Checkpoint,
    report: &mut Report,
) {
    let mut fault = |trouble| report.fault(Fault::of_file(SINCE, trouble));
    let standing = match policy.is_final(since) {
        Ok(standing) => standing,
        Err(error) => return fault(error.into()),
    };
    let origin = standing.checkpoint.origin.clone();
    if origin != now.origin {
        return fault(Trouble::OtherLog { origin });
    }
    if !standing.from_log {
        return fault(Trouble::NotFromLog { origin });
    }
    let Checkpoint { size, root, .. } = standing.checkpoint;
    let nodes = TileNodes::new(now.size, |id: TileId| read(source, &id.path()));
    let holds = size <= now.size && merkle::root(size, &nodes).is_ok_and(|found| found == root);
    if !holds {
        fault(Trouble::NotSince { size, root });
    }
}
