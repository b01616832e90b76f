//! Fuzzes what the host's bytes go through before anything is done: frames, messages, the session. All of it is pure
//! code, so millions of frames take seconds.
//!
//! Transcripts of a host that keeps the rules are damaged at random and fed to it in pieces of any size. It must
//! neither crash nor grow, must keep its promises about streams and credit (`driver`), and after every transcript the
//! next HELLO must work. The same seed does the same again.

#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod driver;
mod mutate;
mod random;
mod transcript;

use driver::{Counts, Driver};
use kiln_agent::wire::parser::Parser;
use random::Random;
use std::time::Instant;
use transcript::{hello, Transcript};

const USAGE: &str = "usage: fuzz [--frames COUNT] [--seed NUMBER]\n";
const DEFAULT_FRAMES: u64 = 1_000_000;
/// Pieces of damage one transcript takes at most.
const MAX_DAMAGE: usize = 6;
/// One transcript in so many is cut into frames twice, in different pieces.
const COMPARED: usize = 16;
/// A generation this near the last one starts a new session.
const LAST_GENERATION: u32 = u32::MAX - 1_000;

fn main() {
    let (frames, seed) = match options() {
        Some(options) => options,
        None => {
            eprint!("{}", USAGE);
            std::process::exit(2);
        }
    };
    println!("seed {}, {} frames", seed, frames);
    let begun = Instant::now();
    match fuzz(frames, seed) {
        Ok((counts, sent, transcripts)) => {
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "{} frames in {} transcripts, {:.1} s: {:.0} frames/s",
                sent,
                transcripts,
                seconds,
                sent as f64 / seconds
            );
            println!("{:#?}", counts);
            if let Some(kib) = peak_memory_kib() {
                println!("peak memory {} KiB", kib);
            }
        }
        Err(what) => {
            eprintln!("FAILED: {}", what);
            std::process::exit(1);
        }
    }
}

fn options() -> Option<(u64, u64)> {
    let (mut frames, mut seed) = (DEFAULT_FRAMES, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        match argument.as_str() {
            "--frames" => frames = number,
            "--seed" => seed = number,
            _ => return None,
        }
    }
    Some((frames, seed))
}

/// Runs until so many frames were sent. Returns what became of them, how many there were, and in how many transcripts.
fn fuzz(frames: u64, seed: u64) -> Result<(Counts, u64, u64), String> {
    let mut random = Random::new(seed);
    let mut driver = Driver::new(Counts::default());
    let (mut sent, mut transcripts) = (0, 0);
    let mut other = Vec::new();
    while sent < frames {
        transcripts += 1;
        if driver.generation() > LAST_GENERATION {
            driver = Driver::new(driver.counts);
        }
        driver.brief = [2, 10, usize::MAX][random.below(3)];
        let transcript = Transcript::write(&mut random, driver.generation());
        sent += transcript.frames;
        let mut bytes = transcript.bytes;
        for _ in 0..random.below(MAX_DAMAGE + 1) {
            mutate::damage(&mut random, &mut bytes, &other);
        }
        let failed = |what| format!("transcript {}: {}", transcripts, what);
        driver.feed(&bytes, &mut random).map_err(failed)?;
        if random.once_in(COMPARED) && cut(&bytes, &mut random) != cut(&bytes, &mut random) {
            return Err(failed(String::from("other pieces make other frames")));
        }
        let window = 1 + random.below(16 << 20) as u64;
        driver.recover(&mut random, &hello(window, None)).map_err(failed)?;
        sent += 1;
        other = bytes;
    }
    Ok((driver.counts, sent, transcripts))
}

/// The frames in `bytes`, received in pieces of any size: a hash of all, and their number.
fn cut(bytes: &[u8], random: &mut Random) -> (u64, u64) {
    let mut parser = Parser::new();
    let (mut hash, mut frames) = (0xcbf2_9ce4_8422_2325u64, 0);
    let most_piece = [16, 1000, usize::MAX][random.below(3)];
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = parser.space();
        let piece = (1 + random.below(most_piece.min(rest.len()))).min(space.len());
        space[..piece].copy_from_slice(&rest[..piece]);
        parser.filled(piece);
        rest = &rest[piece..];
        while let Some(frame) = parser.next_frame() {
            for byte in frame.header.bytes().iter().chain(frame.payload) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
                // FNV-1a
            }
            frames += 1;
        }
    }
    (hash, frames)
}

fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn damaged_transcripts_break_no_promise() {
        let (counts, sent, _) = fuzz(200_000, 7).expect("every promise kept");
        assert!(sent >= 200_000);
        // Every way through was taken: otherwise nothing was tested.
        assert!(counts.accepted > sent / 4, "{:?}", counts);
        assert!(counts.refused > sent / 100 && counts.ignored > sent / 100 && counts.lost > 100, "{:?}", counts);
        assert!(counts.busy > 0 && counts.most_streams == 512, "{:?}", counts);
        // One buffer, a few vectors of 512 streams, one transcript: far from what a leak would come to.
        assert!(peak_memory_kib().map_or(true, |kib| kib < 64 * 1024), "{:?}", peak_memory_kib());
    }

    #[test]
    fn a_seed_does_the_same_again() {
        assert_eq!(fuzz(5_000, 3), fuzz(5_000, 3));
        assert_ne!(fuzz(5_000, 3), fuzz(5_000, 4));
    }
}
