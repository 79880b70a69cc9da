//! The bodies of the fuzz targets over mutated inputs, for a few seconds in every run. What is found stays found: the numbers are the
//! same each time. `fuzz/` has the same for `cargo fuzz`, without an end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says at what"
)]

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

use std::time::{Duration, Instant};

/// Bounds the slowest machine; others are done with their rounds before.
const LONGEST: Duration = Duration::from_secs(10);
const ROUNDS: usize = 20_000;

/// Repeatable random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % limit.max(1)
    }
}

/// One to four changes: a bit, a byte, a piece cut out, repeated, or taken from another seed, a number made very large.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let piece = other[from..(from + 40).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                bytes.splice(at..end.min(at + 4), [0xff; 4]);
            }
        }
    }
    bytes
}

fn run(body: fn(&[u8]), seeds: &[Vec<u8>]) {
    let (began, mut random) = (Instant::now(), Random(0x5eed));
    seeds.iter().for_each(|seed| body(seed));
    for round in 0..ROUNDS {
        if began.elapsed() > LONGEST {
            assert!(round > 500, "only {round} rounds: this shows nothing");
            break;
        }
        let input = mutate(seeds, &mut random);
        if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
            println!("round {round}: {:?}", String::from_utf8_lossy(&input));
            std::panic::resume_unwind(panic);
        }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

#[test]
fn vault_parser() {
    run(bodies::vault_parser, &[bodies::VAULT.to_vec()]);
}

#[test]
fn agent_answers() {
    let key = [string(b"ssh-ed25519"), string(&[7; 32])].concat();
    let certificate =
        [string(b"ssh-ed25519-cert-v01@openssh.com"), string(&[1; 32]), string(&[7; 32]), vec![0; 60]]
            .concat();
    let listing =
        [vec![12, 0, 0, 0, 2], string(&key), string(b"a key"), string(&certificate), string(b"M\xfcller")]
            .concat();
    let signature = [string(b"ssh-ed25519"), string(&[5; 64])].concat();
    let answer = [vec![14], string(&signature)].concat();
    assert_eq!(sorry_vault::parse_identities(&listing).unwrap().len(), 2);
    assert!(sorry_vault::parse_signature(&answer).is_some());
    run(bodies::agent_answers, &[listing, answer, vec![5]]);
}

#[test]
fn key_file() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = ["", "phrase"].map(|passphrase| {
        let path = folder.path().join(format!("id{passphrase}"));
        let done = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(done.success());
        std::fs::read(path).unwrap()
    });
    seeds.iter().for_each(|seed| drop(sorry_vault::KeyFile::parse(seed).unwrap()));
    run(bodies::key_file, &seeds);
}

#[test]
fn ini_editor() {
    let seeds = [
        "[default]\nregion = eu-west-1\n\n[profile x]\nregion=us-east-1\nold = 1\n# a comment\n[profile y]\ns3 =\n  a = b\n",
        "[x]\r\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\r\n\r\n[ x ]\r\nold: 1\r\n",
        "\u{feff}[profile \"x y\"]\nx\n[x]\n\tregion = 1 # c\n;\n",
    ];
    run(bodies::ini_editor, &seeds.map(|seed| seed.as_bytes().to_vec()));
}
