//! How fast this machine's time stamp counter runs. A guest under software emulation reads the host's counter and, on
//! a busy host, fails to find out its rate by itself: so the host measures it, with this very program, and tells
//! the guest's kernel.

use crate::sys::machine::read_tsc;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_millis(200);
/// Of so many pairs of readings the closest together is believed: in the others something came between.
const ATTEMPTS: u32 = 50;

/// Kilohertz of the counter. The error is some parts in a million.
pub fn measure_khz() -> u64 {
    let (start_ticks, start) = read_together();
    std::thread::sleep(SPAN);
    let (end_ticks, end) = read_together();
    let nanoseconds = end.duration_since(start).as_nanos();
    (u128::from(end_ticks.wrapping_sub(start_ticks)) * 1_000_000 / nanoseconds) as u64
}

/// The counter and the clock at the same moment.
fn read_together() -> (u64, Instant) {
    let mut best = (u64::MAX, 0, Instant::now());
    for _ in 0..ATTEMPTS {
        let before = read_tsc();
        let now = Instant::now();
        let after = read_tsc();
        let apart = after.wrapping_sub(before);
        if apart < best.0 {
            best = (apart, before.wrapping_add(apart / 2), now);
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::measure_khz;

    #[test]
    fn two_measurements_agree() {
        let (one, other) = (measure_khz(), measure_khz());
        assert!(one > 100_000 && one < 20_000_000, "{} kHz", one);
        assert!(one.abs_diff(other) * 1_000 < one, "{} and {} kHz", one, other);
    }
}
