//! Two kinds of work by turns in one run. The result is the median of the ratios of neighbours.

use std::time::Duration;

/// The measurements of one row: the speed of each side, and the ratio, for every pair.
struct Pairs {
    ours: Vec<f64>,
    limit: Vec<f64>,
}

/// The unit of a row's figures.
#[derive(Clone, Copy)]
pub enum Unit {
    /// A run processes this many bytes.
    Bytes(u64),
    /// A run makes this many calls.
    Calls(u64),
    /// A run is one call. The ratio is its duration divided by that of the other side.
    Latency,
}

impl Unit {
    fn figure(self, took: Duration) -> f64 {
        match self {
            Unit::Bytes(count) | Unit::Calls(count) => count as f64 / took.as_secs_f64(),
            Unit::Latency => took.as_secs_f64() * 1e6,
        }
    }

    fn show(self, rate: f64) -> String {
        match self {
            Unit::Latency => format!("{rate:.1} us"),
            Unit::Bytes(_) => format!("{:.0} MB/s", rate / 1e6),
            Unit::Calls(1) => format!("{:.2} ms", 1e3 / rate),
            Unit::Calls(_) if rate < 1e4 => format!("{rate:.0}/s"),
            Unit::Calls(_) => format!("{:.0} k/s", rate / 1e3),
        }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

pub struct Run {
    pub test: bool,
    pub pairs: usize,
    wanted: Vec<String>,
}

impl Run {
    pub fn from_environment() -> Run {
        let args: Vec<String> = std::env::args().skip(1).collect();
        // Without `--bench`, `cargo test` has started the program.
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        let test = has("--test") || !has("--bench");
        let set = std::env::var("RATIOS_PAIRS").ok().and_then(|pairs| pairs.parse().ok());
        let pairs = if test { 1 } else { set.unwrap_or(7) };
        let wanted = args.into_iter().filter(|arg| !arg.starts_with("--")).collect();
        Run { test, pairs, wanted }
    }

    /// Prints the header of the table.
    pub fn head(&self, other: &str) {
        println!("| work | ours | {other} | ratio: median (range) of {} | target |", self.pairs);
        println!("|---|---|---|---|---|");
    }

    /// Returns this run with at most this many pairs, for work that takes long to prepare.
    pub fn at_most(&self, pairs: usize) -> Run {
        Run { test: self.test, pairs: self.pairs.min(pairs), wanted: self.wanted.clone() }
    }

    /// Returns the full size of some work, or a small one in a run that only tests the work.
    pub fn size(&self, full: u64) -> u64 {
        if self.test { (full / 200).clamp(16, 2000) } else { full }
    }

    pub fn wants(&self, work: &str) -> bool {
        self.wanted.is_empty()
            || self.wanted.iter().any(|word| match word.strip_suffix('$') {
                Some(end) => work.ends_with(end),
                None => work.contains(word.as_str()),
            })
    }

    /// Measures a row of the table and prints it.
    pub fn row(
        &self,
        work: &str,
        target: &str,
        unit: Unit,
        mut ours: impl FnMut() -> Duration,
        mut limit: impl FnMut() -> Duration,
    ) {
        if !self.wants(work) {
            return;
        }
        let mut pairs = Pairs { ours: Vec::new(), limit: Vec::new() };
        for _ in 0..self.pairs {
            pairs.ours.push(unit.figure(ours()));
            pairs.limit.push(unit.figure(limit()));
        }
        let ratios: Vec<f64> = pairs.ours.iter().zip(&pairs.limit).map(|(a, b)| a / b).collect();
        let (low, high) =
            ratios.iter().fold((f64::MAX, 0.0f64), |(low, high), r| (low.min(*r), high.max(*r)));
        println!(
            "| {work} | {} | {} | **{:.2}** ({low:.2}-{high:.2}) | {target} |",
            unit.show(median(&pairs.ours)),
            unit.show(median(&pairs.limit)),
            median(&ratios),
        );
    }
}
